//! Users who may write to a switch's directory, and swap what is in it while it is being used by root.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use landline_vde::{DirError, Plug, PlugError, REPLY_LEN, Request, Switch, SwitchConfig, SwitchError, reply};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, inotify, open, renameat_with, symlinkat, unlinkat};
use rustix::process::{Gid, Uid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::lab::{DEADLINE, Place, client_socket};

/// How often each side is raced at least, and how often at most until enough tries have met a swapped path.
const TRIES: u32 = 10_000;
const MOST_TRIES: u32 = 10 * TRIES;
/// How many tries must have met a swapped path.
const SWAPS: u32 = TRIES / 2;

/// A user without rights, and the group of the same number.
const NOBODY: u32 = 65_534;

/// Makes the calling thread, and no other, a thread of the user without rights.
fn become_nobody() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[group]).unwrap();
    rustix::thread::set_thread_res_gid(group, group, group).unwrap();
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
}

/// Puts all threads that are started from now on on one processor. There, the one who wakes up at a new name runs before
/// the one who has made it does anything else with it.
fn share_a_processor() {
    let (all, mut one) = (sched_getaffinity(None).unwrap(), CpuSet::new());
    one.set((0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
}

/// A directory like `/tmp`, with a file that is root's alone.
fn place_with_secret() -> (Place, PathBuf) {
    let place = Place::new();
    fs::set_permissions(place.path(""), Permissions::from_mode(0o1777)).unwrap();
    let secret = place.path("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    (place, secret)
}

fn is_roots_alone(file: &Path) -> bool {
    let meta = fs::metadata(file).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777) == (0, 0, 0o600)
}

/// What the one who swaps and those who race him know of each other.
#[derive(Default)]
struct Race {
    swapped: AtomicU32,
    over: AtomicBool,
}

impl Race {
    /// The first try after which something is lost; `None` if none is in as many as it takes.
    fn run(&self, is_lost: impl Fn() -> bool) -> Option<u32> {
        let goes_on = |tries: &u32| *tries < TRIES || self.swapped.load(Ordering::Relaxed) < SWAPS;
        (0..MOST_TRIES).take_while(goes_on).find(|_| is_lost())
    }

    /// Ends it for the one who swaps, who wakes up at a new name.
    fn end(&self, dir: &Path) {
        self.over.store(true, Ordering::Relaxed);
        fs::write(dir.join("over"), "").unwrap();
    }

    fn was_run(&self) {
        let swapped = self.swapped.load(Ordering::Relaxed);
        assert!(swapped >= SWAPS, "only {swapped} tries met a swapped path");
    }
}

/// Puts a link to the secret in the place of each socket with such a name as soon as it is there, until the race is over.
fn swap(race: &Race, dir: &Path, secret: &Path, prefix: &[u8]) {
    // Nobody's threads may not have this.
    rustix::process::setpriority_process(None, -20).unwrap();
    become_nobody();
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, dir, inotify::WatchFlags::CREATE).unwrap();
    let dir: OwnedFd = open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut room = [const { MaybeUninit::uninit() }; 4096];
    let mut events = inotify::Reader::new(&watch, &mut room);
    let mut last: Option<CString> = None;
    while !race.over.load(Ordering::Relaxed) {
        let event = events.next().unwrap();
        let Some(name) = event.file_name().filter(|name| name.to_bytes().starts_with(prefix)) else {
            continue;
        };
        if let Some(name) = last.replace(name.to_owned()) {
            let _ = unlinkat(&dir, &name, AtFlags::empty());
        }
        let _ = symlinkat(secret, &dir, c"link");
        if renameat_with(&dir, name, &dir, c"link", RenameFlags::EXCHANGE).is_ok() {
            race.swapped.fetch_add(1, Ordering::Relaxed);
            let _ = unlinkat(&dir, c"link", AtFlags::empty());
        }
    }
}

#[test]
fn a_member_of_the_group_gets_no_file_by_swapping_a_port() {
    let (place, secret) = place_with_secret();
    share_a_processor();
    let config = SwitchConfig { group: Some(NOBODY), ..place.config("sw") };
    let _switch = Switch::start(&config, || {}).unwrap();
    let (dir, race) = (place.path("sw"), Race::default());
    thread::scope(|scope| {
        scope.spawn(|| swap(&race, &dir, &secret, b"001."));
        let client = scope.spawn(|| {
            become_nobody();
            let mine = place.path("vde.00001-00001");
            let _socket = client_socket(&mine);
            race.run(|| {
                let request = Request { port: 1, ..Request::new(mine.clone(), "racer") };
                let mut ctl = UnixStream::connect(dir.join("ctl")).unwrap();
                ctl.set_read_timeout(Some(DEADLINE)).unwrap();
                ctl.write_all(&request.to_bytes()).unwrap();
                // A port or a refusal.
                let _ = ctl.read(&mut [0; REPLY_LEN]);
                !is_roots_alone(&secret)
            })
        });
        let lost = client.join();
        race.end(&dir);
        assert_eq!(lost.unwrap(), None, "the try at which it was lost");
    });
    race.was_run();
}

#[test]
fn a_switch_gets_no_file_of_those_who_join_it() {
    let (place, secret) = place_with_secret();
    let dir = place.path("sw");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    let race = Race::default();
    share_a_processor();
    thread::scope(|scope| {
        scope.spawn(|| swap(&race, &dir, &secret, b"."));
        let (ready, is_ready) = channel();
        let switch = scope.spawn(|| {
            become_nobody();
            let ready = ready;
            let listener = UnixListener::bind(dir.join("ctl")).unwrap();
            let _port = UnixDatagram::bind(dir.join("001.1")).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let (mut stream, mut request) = (stream.unwrap(), [0; 300]);
                let length = stream.read(&mut request).unwrap();
                if race.over.load(Ordering::Relaxed) {
                    return;
                }
                assert!(Request::parse(&request[..length]).is_ok());
                let _ = stream.write_all(&reply(&dir.join("001.1")));
            }
        });
        is_ready.recv().unwrap();
        let lost = race.run(|| {
            let _ = Plug::connect(&dir, "joins", DEADLINE);
            !is_roots_alone(&secret)
        });
        race.end(&dir);
        drop(UnixStream::connect(dir.join("ctl")));
        switch.join().unwrap();
        assert_eq!(lost, None, "the try at which it was lost");
    });
    race.was_run();
}

/// A switch that somebody runs must not make us, with our rights, send frames to whom it likes.
#[test]
fn a_switch_cannot_name_the_socket_of_somebody_else() {
    let (place, _) = place_with_secret();
    let dir = place.path("sw");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    let _victim = client_socket(&place.path("victim"));
    let named = [place.path("victim"), place.path("sw/link"), place.path("vde.mine"), place.path("sw/001.1")];
    thread::scope(|scope| {
        let (ready, is_ready) = channel();
        let switch = scope.spawn(|| {
            become_nobody();
            let ready = ready;
            let listener = UnixListener::bind(dir.join("ctl")).unwrap();
            let _ports = ["vde.mine", "sw/001.1"].map(|name| UnixDatagram::bind(place.path(name)).unwrap());
            std::os::unix::fs::symlink(place.path("victim"), dir.join("link")).unwrap();
            ready.send(()).unwrap();
            for path in &named {
                let (mut stream, _) = listener.accept().unwrap();
                let length = stream.read(&mut [0; 300]).unwrap();
                assert!(length > 0);
                stream.write_all(&reply(path)).unwrap();
                // Until it has been looked at.
                let _ = stream.read(&mut [0]);
            }
        });
        is_ready.recv().unwrap();
        let joined = named.each_ref().map(|_| Plug::connect(&dir, "joins", DEADLINE).map(drop));
        switch.join().unwrap();
        let refused = joined.each_ref().map(|joined| matches!(joined, Err(PlugError::Io { .. })));
        assert_eq!(refused, [true, true, true, false], "{joined:?}");
        assert!(joined[3].is_ok());
    });
}

#[test]
fn a_switch_does_not_run_where_others_could_replace_it() {
    let place = Place::new();
    let exposed = place.path("open");
    fs::create_dir(&exposed).unwrap();
    fs::create_dir(exposed.join("deeper")).unwrap();
    let start = |dir: PathBuf, management| {
        let config = SwitchConfig { dir, management, ..place.config("sw") };
        Switch::start(&config, || {}).map(drop)
    };
    let refused = |started: Result<(), SwitchError>| match started {
        Err(SwitchError::Dir(error @ DirError::Exposed { .. })) => {
            let said = error.to_string();
            assert!(said.contains(&format!("chmod go-w {}", exposed.display())), "{said}");
            true
        }
        _ => false,
    };
    for mode in [0o777, 0o757, 0o775] {
        fs::set_permissions(&exposed, Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&exposed, None, Some(NOBODY)).unwrap();
        assert!(refused(start(exposed.join("sw"), None)), "{mode:o}");
        assert!(refused(start(exposed.join("deeper/sw"), None)), "{mode:o}");
        assert!(refused(start(place.path("sw"), Some(exposed.join("mgmt")))), "{mode:o}");
        assert!(!exposed.join("sw").exists() && !place.path("sw").exists());
    }
    fs::set_permissions(&exposed, Permissions::from_mode(0o1777)).unwrap();
    start(exposed.join("sw"), Some(exposed.join("mgmt"))).unwrap();
    // Another's directory in its place is not followed.
    std::os::unix::fs::symlink(exposed.join("sw"), exposed.join("other")).unwrap();
    assert!(matches!(start(exposed.join("other"), None), Err(SwitchError::Dir(DirError::Io { .. }))));
}
