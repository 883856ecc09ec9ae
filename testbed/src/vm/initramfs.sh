#!/bin/sh
# INITRAMFS KERNEL VERSION: what the VM needs until it has its root file system, as KERNEL/initramfs: busybox, the
# modules in the order they are to be loaded, and the script that loads them.
set -eu
kernel=$1
version=$2
tree=$kernel/initramfs.tree

rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/modules" "$tree/ro" "$tree/rw" "$tree/root"
cp /bin/busybox "$tree/bin/"
# A module that is built in has no file; modprobe says `builtin` then. What cannot be found must stop everything, so no pipe.
for module in virtio_pci virtio_console virtiofs overlay; do
	modprobe -d "$kernel" -S "$version" --show-depends "$module" >>"$tree/needed"
done
awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$tree/needed" >"$tree/files"
while read -r file; do
	name=$(basename "$file")
	case $file in
	*.xz) name=${name%.xz} && xz -dc "$file" >"$tree/modules/$name" ;;
	*) cp "$file" "$tree/modules/" ;;
	esac
	echo "$name" >>"$tree/modules/order"
done <"$tree/files"
rm "$tree/needed" "$tree/files"
cat >"$tree/init"
chmod 755 "$tree/init"
(cd "$tree" && find . | /bin/busybox cpio -o -H newc) >"$kernel/initramfs.new"
rm -rf "$tree"
mv "$kernel/initramfs.new" "$kernel/initramfs"
