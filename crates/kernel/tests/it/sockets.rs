//! Names of unix sockets.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use landline_kernel::socket_file;

#[test]
fn the_file_is_the_sockets_whatever_has_its_name() {
    let place = tempfile::tempdir().unwrap();
    let (name, other) = (place.path().join("socket"), place.path().join("other"));
    let socket = UnixDatagram::bind(&name).unwrap();
    let inode = fs::metadata(&name).unwrap().ino();
    fs::rename(&name, &other).unwrap();
    fs::write(&name, "").unwrap();
    let file = fs::File::from(socket_file(&socket).unwrap());
    assert_eq!(file.metadata().unwrap().ino(), inode);
    let unnamed = UnixDatagram::unbound().unwrap();
    assert_eq!(socket_file(&unnamed).unwrap_err().kind(), io::ErrorKind::NotFound);
}
