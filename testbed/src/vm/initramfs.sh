#!/bin/sh
# INITRAMFS KERNEL VERSION FILE MODULE...: what a VM needs until it has its root file system, as FILE: busybox, the
# modules in the order they are to be loaded, and the script (from standard input) that loads them.
set -eu
kernel=$1
version=$2
file=$3
shift 3
tree=$file.tree

rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/modules" "$tree/ro" "$tree/rw" "$tree/root"
cp /bin/busybox "$tree/bin/"
# A module that is built in has no file; modprobe says `builtin` then. What cannot be found must stop everything, so no pipe.
for module; do
	modprobe -d "$kernel" -S "$version" --show-depends "$module" >>"$tree/needed"
done
awk '$1 == "insmod" && !seen[$2]++ { print $2 }' "$tree/needed" >"$tree/files"
while read -r path; do
	name=$(basename "$path")
	case $path in
	*.xz) name=${name%.xz} && xz -dc "$path" >"$tree/modules/$name" ;;
	*) cp "$path" "$tree/modules/" ;;
	esac
	echo "$name" >>"$tree/modules/order"
done <"$tree/files"
rm "$tree/needed" "$tree/files"
cat >"$tree/init"
chmod 755 "$tree/init"
(cd "$tree" && find . | /bin/busybox cpio -o -H newc) >"$file.new"
rm -rf "$tree"
mv "$file.new" "$file"
