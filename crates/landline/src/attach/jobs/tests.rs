use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_attach::{AttachmentRecord, Origin};
use landline_docker::{ContainerInfo, DockerView, Sketch};
use landline_model::{RuntimeApi, RuntimeOwner};
use landline_options::{ConfigFile, Standing};

use super::{Job, Jobs, Kernel, Key, Over, Work, find, planned};

/// Paths of namespaces, and processes.
#[derive(Default)]
struct FakeKernel {
    namespaces: RefCell<BTreeMap<PathBuf, String>>,
    processes: RefCell<BTreeMap<u32, String>>,
}

impl FakeKernel {
    fn with(paths: &[(&str, &str)]) -> Self {
        let kernel = Self::default();
        for (path, namespace) in paths {
            kernel.namespaces.borrow_mut().insert(path.into(), (*namespace).to_owned());
        }
        kernel
    }

    /// A process starts, in a namespace.
    fn start(&self, pid: u32, process: &str, namespace: &str) {
        self.processes.borrow_mut().insert(pid, process.to_owned());
        self.namespaces.borrow_mut().insert(format!("/proc/{pid}/ns/net").into(), namespace.to_owned());
    }

    fn end(&self, pid: u32) {
        self.processes.borrow_mut().remove(&pid);
        self.namespaces.borrow_mut().remove(Path::new(&format!("/proc/{pid}/ns/net")));
    }
}

impl Kernel for FakeKernel {
    fn namespace_at(&self, path: &Path) -> Option<String> {
        self.namespaces.borrow().get(path).cloned()
    }

    fn process_called(&self, pid: u32) -> Option<String> {
        self.processes.borrow().get(&pid).cloned()
    }

    fn exists(&self, path: &Path) -> bool {
        self.namespaces.borrow().contains_key(path)
    }
}

const WEB: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
const DB: &str = "bbbbbbbbbbbbbbbbbbbbbbbb";

/// A running container whose sandbox is bound in a directory of Docker's.
fn container(id: &str, name: &str) -> ContainerInfo {
    ContainerInfo {
        container_id: id.to_owned(),
        name: name.to_owned(),
        pid: Some(100),
        sandbox: Some(format!("/run/docker/{name}").into()),
        running: true,
        ..ContainerInfo::default()
    }
}

fn labelled(id: &str, name: &str) -> ContainerInfo {
    let labels = [("landline.attach".to_owned(), "eth0 dhcp".to_owned())].into();
    ContainerInfo { labels, ..container(id, name) }
}

fn view(containers: Vec<ContainerInfo>) -> DockerView {
    let all = containers.into_iter().map(|info| (info.container_id.clone(), Sketch::Info(Box::new(info))));
    DockerView { connected: true, containers: all.collect(), ..DockerView::default() }
}

/// What is known of Docker after the connection to it was lost.
fn unseen(view: DockerView) -> DockerView {
    DockerView { connected: false, ..view }
}

fn docker() -> FakeKernel {
    FakeKernel::with(&[("/run/docker/web", "n1"), ("/run/docker/db", "n2")])
}

fn record(target: &str, origin: Origin) -> AttachmentRecord {
    AttachmentRecord {
        id: "1".repeat(32).parse().unwrap(),
        target: target.parse().unwrap(),
        process: None,
        spec: "eth0 dhcp".parse().unwrap(),
        origin,
        container: None,
        network: None,
        nic: None,
        inside: None,
        card: None,
    }
}

/// One that was in this container.
fn record_in(target: &str, origin: Origin, info: &ContainerInfo) -> AttachmentRecord {
    AttachmentRecord { container: Some(crate::frontend::record(info)), ..record(target, origin) }
}

fn config(targets: &[&str]) -> Arc<ConfigFile> {
    let standing = |target: &&str| Standing {
        container: target.parse().unwrap(),
        interface: "eth0 dhcp".parse().unwrap(),
    };
    Arc::new(ConfigFile { attach: targets.iter().map(standing).collect(), ..ConfigFile::default() })
}

fn plan(kernel: &FakeKernel, view: &DockerView, records: &[AttachmentRecord], targets: &[&str]) -> Jobs {
    planned(kernel, view, records, &config(targets))
}

/// Where the jobs are, by whose they are.
fn places(jobs: &Jobs) -> Vec<(Key, &str)> {
    jobs.wanted.iter().map(|(key, job)| (key.clone(), job.place.sandbox.to_str().unwrap())).collect()
}

fn over(jobs: &Jobs) -> Vec<Over> {
    jobs.over.iter().map(|(_, over)| *over).collect()
}

fn command() -> Key {
    Key::Command("1".repeat(32).parse().unwrap())
}

fn asked(id: &str) -> Key {
    Key::Container(id.to_owned())
}

#[test]
fn a_running_container_gets_what_it_asks_for() {
    let jobs = plan(&docker(), &view(vec![labelled(WEB, "web"), container(DB, "db")]), &[], &[]);
    assert_eq!(places(&jobs), [(asked(WEB), "/run/docker/web")]);
    let Job { place, namespace: None, work: Work::Asked(asks, _) } = &jobs.wanted[&asked(WEB)] else {
        panic!("{jobs:?}")
    };
    assert_eq!(asks.len(), 1);
    assert_eq!(place.container.as_ref().map(|container| container.name.as_str()), Some("web"));
    assert!(jobs.lack(&asked(DB)));
}

#[test]
fn a_container_that_does_not_run_or_is_not_known_yet_has_no_job() {
    let stopped = ContainerInfo { running: false, ..labelled(WEB, "web") };
    assert_eq!(places(&plan(&docker(), &view(vec![stopped]), &[], &[])), []);
    let mut created = view(vec![]);
    created.containers.insert(WEB.to_owned(), Sketch::Name("web".to_owned()));
    let jobs = plan(&docker(), &created, &[], &["web"]);
    assert_eq!(places(&jobs), []);
    assert!(jobs.lack(&asked(WEB)));
}

#[test]
fn a_sandbox_that_is_out_of_sight_is_found_by_the_process() {
    let nowhere = FakeKernel::default();
    let jobs = plan(&nowhere, &view(vec![labelled(WEB, "web")]), &[], &[]);
    assert_eq!(places(&jobs), [(asked(WEB), "/proc/100/ns/net")]);
    let without = ContainerInfo { pid: None, ..labelled(WEB, "web") };
    assert_eq!(places(&plan(&nowhere, &view(vec![without]), &[], &[])), []);
}

#[test]
fn with_a_key_only_containers_that_have_it_are_looked_at() {
    let keyed = |id: &str, name: &str, key: &str| ContainerInfo {
        environment: vec![format!("pipework_key={key}")],
        ..labelled(id, name)
    };
    let seen = view(vec![keyed(WEB, "web", "mine"), keyed(DB, "db", "other"), labelled("cc", "plain")]);
    let mut config = ConfigFile::default();
    config.containers.key = Some("mine".to_owned());
    let jobs = planned(&docker(), &seen, &[], &Arc::new(config));
    assert_eq!(places(&jobs), [(asked(WEB), "/run/docker/web")]);
    assert_eq!(plan(&docker(), &seen, &[], &[]).wanted.len(), 3, "without one, all are");
}

#[test]
fn a_command_counts_while_its_container_runs() {
    let record = record("web", Origin::Command);
    let jobs = plan(&docker(), &view(vec![container(WEB, "web")]), std::slice::from_ref(&record), &[]);
    assert_eq!(places(&jobs), [(command(), "/run/docker/web")]);
    let work = &jobs.wanted[&command()].work;
    assert!(
        matches!(work, Work::Wanted(target, spec, Origin::Command) if *target == record.target && **spec == record.spec)
    );
    assert!(jobs.watched.is_empty(), "Docker's events say when it ends");
    // It waits for the next start.
    let stopped = ContainerInfo { running: false, ..container(WEB, "web") };
    let jobs = plan(&docker(), &view(vec![stopped]), &[record], &[]);
    assert!(jobs.wanted.is_empty() && jobs.over.is_empty() && jobs.lack(&command()));
}

#[test]
fn a_command_ends_with_its_container_if_it_named_that_by_id() {
    let web = container(WEB, "web");
    let records = |target: &str| [record_in(target, Origin::Command, &web)];
    let gone = view(vec![]);
    assert_eq!(over(&plan(&docker(), &gone, &records(WEB), &[])), [Over::Gone]);
    assert_eq!(over(&plan(&docker(), &gone, &records(&WEB[..12]), &[])), [Over::Gone]);
    // By name, a recreated one is meant as well.
    assert_eq!(over(&plan(&docker(), &gone, &records("web"), &[])), []);
    let stopped = view(vec![ContainerInfo { running: false, ..web.clone() }]);
    assert_eq!(over(&plan(&docker(), &stopped, &records(WEB), &[])), []);
}

#[test]
fn without_docker_what_its_containers_have_stays() {
    let web = labelled(WEB, "web");
    let label = Origin::Container("landline.attach".to_owned());
    let records = [record_in(WEB, Origin::Command, &web), record_in("web", label, &web)];
    for seen in [unseen(view(vec![web.clone()])), DockerView::default()] {
        let jobs = plan(&docker(), &seen, &records, &["web", "netns:/run/netns/lab"]);
        assert!(jobs.wanted.is_empty() && jobs.over.is_empty(), "{jobs:?}");
        let kept = [asked(WEB), command(), Key::Config(0)];
        assert!(kept.iter().all(|key| !jobs.lack(key)), "{jobs:?}");
        assert!(jobs.lack(&Key::Config(1)), "that one has nothing to do with Docker");
    }
}

#[test]
fn a_process_is_followed_until_it_ends() {
    let kernel = FakeKernel::default();
    kernel.start(7, "started at 12", "n7");
    let records =
        [AttachmentRecord { process: Some("started at 12".into()), ..record("pid:7", Origin::Command) }];
    // Whether Docker is there or not.
    for seen in [view(vec![]), DockerView::default()] {
        let jobs = plan(&kernel, &seen, &records, &[]);
        assert_eq!(places(&jobs), [(command(), "/proc/7/ns/net")]);
        assert_eq!(jobs.wanted[&command()].namespace.as_deref(), Some("n7"));
        assert_eq!(jobs.watched, [records[0].target.clone()].into());
    }
    kernel.end(7);
    let jobs = plan(&kernel, &view(vec![]), &records, &[]);
    assert_eq!(over(&jobs), [Over::Gone]);
    assert!(jobs.wanted.is_empty() && jobs.watched.is_empty());
    // Its number is another's by now.
    kernel.start(7, "started at 99", "n8");
    let jobs = plan(&kernel, &view(vec![]), &records, &[]);
    assert_eq!((over(&jobs), places(&jobs)), (vec![Over::Gone], vec![]));
}

/// Its process is there a moment longer than its namespaces, while it ends.
#[test]
fn a_process_without_a_namespace_has_ended() {
    let kernel = FakeKernel::default();
    kernel.processes.borrow_mut().insert(7, "started at 12".to_owned());
    let jobs = plan(&kernel, &view(vec![]), &[record("pid:7", Origin::Command)], &[]);
    assert_eq!(over(&jobs), [Over::Gone]);
}

#[test]
fn a_path_may_come_to_name_a_namespace_again_and_again() {
    let records = [record("netns:/run/netns/lab", Origin::Command)];
    let at = |kernel: &FakeKernel| {
        let jobs = plan(kernel, &view(vec![]), &records, &[]);
        assert_eq!(jobs.watched, [records[0].target.clone()].into());
        assert!(jobs.over.is_empty());
        jobs.wanted.get(&command()).map(|job| job.namespace.clone())
    };
    assert_eq!(at(&FakeKernel::default()), None);
    assert_eq!(at(&FakeKernel::with(&[("/run/netns/lab", "n1")])), Some(Some("n1".to_owned())));
    assert_eq!(at(&FakeKernel::with(&[("/run/netns/lab", "n2")])), Some(Some("n2".to_owned())));
}

#[test]
fn the_configuration_file_has_a_job_for_each_of_its_containers_that_runs() {
    let seen = view(vec![container(WEB, "web"), container(DB, "db")]);
    let jobs = plan(&docker(), &seen, &[], &["db", "none", "web"]);
    assert_eq!(places(&jobs), [(Key::Config(0), "/run/docker/db"), (Key::Config(2), "/run/docker/web")]);
    assert!(matches!(jobs.wanted[&Key::Config(0)].work, Work::Wanted(_, _, Origin::Config)));
    assert!(jobs.lack(&Key::Config(1)) && jobs.lack(&Key::Config(3)));
}

#[test]
fn what_is_no_longer_in_the_configuration_file_is_unwanted() {
    let records = [record("web", Origin::Config)];
    let seen = view(vec![container(WEB, "web")]);
    assert_eq!(over(&plan(&docker(), &seen, &records, &["db", "web"])), []);
    assert_eq!(over(&plan(&docker(), &seen, &records, &["db"])), [Over::Unwanted]);
    // The same container, with another interface.
    let mut other = record("web", Origin::Config);
    other.spec = "eth1 dhcp".parse().unwrap();
    assert_eq!(over(&plan(&docker(), &seen, &[other], &["web"])), [Over::Unwanted]);
}

#[test]
fn what_a_container_asked_for_ends_when_it_is_removed() {
    let web = labelled(WEB, "web");
    let records = [record_in("web", Origin::Container("landline.attach".to_owned()), &web)];
    let stopped = view(vec![ContainerInfo { running: false, ..web.clone() }]);
    assert_eq!(over(&plan(&docker(), &stopped, &records, &[])), []);
    // Another one of that name asks for itself.
    let recreated = view(vec![labelled(DB, "web")]);
    let jobs = plan(&docker(), &recreated, &records, &[]);
    assert_eq!(over(&jobs), [Over::Removed]);
    assert_eq!(places(&jobs), [(asked(DB), "/run/docker/web")]);
}

/// A runtime's, and where it is said to be.
fn runtimes(name: Option<&str>, inside: Option<(&str, &str)>) -> AttachmentRecord {
    let owner = RuntimeOwner {
        api: RuntimeApi::Cni,
        network: "lan".to_owned(),
        container: "c1".to_owned(),
        interface: "eth0".parse().unwrap(),
        name: name.map(ToOwned::to_owned),
    };
    let inside = inside.map(|(sandbox, namespace)| {
        serde_json::from_value(
            serde_json::json!({"sandbox": sandbox, "namespace": namespace, "name": "eth0"}),
        )
        .unwrap()
    });
    AttachmentRecord { inside, ..record("netns:/run/netns/c1", Origin::Runtime(owner)) }
}

#[test]
fn a_runtimes_attachment_ends_with_its_namespace() {
    let ends = |kernel: &FakeKernel, record: AttachmentRecord| {
        // Docker has no part in it.
        let jobs = plan(kernel, &DockerView::default(), std::slice::from_ref(&record), &[]);
        assert!(jobs.wanted.is_empty(), "the runtime makes it");
        assert_eq!(jobs.watched, [record.target].into());
        over(&jobs)
    };
    let (there, another) =
        (FakeKernel::with(&[("/run/netns/c1", "n1")]), FakeKernel::with(&[("/run/netns/c1", "n2")]));
    let inside = || Some(("/run/netns/c1", "n1"));
    assert_eq!(ends(&there, runtimes(None, inside())), []);
    for gone in [&FakeKernel::default(), &another] {
        assert_eq!(ends(gone, runtimes(None, inside())), [Over::Gone]);
        // A container of the same name may be about to start.
        assert_eq!(ends(gone, runtimes(Some("pod"), inside())), [Over::Removed]);
    }
    // It is on its way: any namespace there is the right one.
    assert_eq!(ends(&another, runtimes(None, None)), []);
    assert_eq!(ends(&FakeKernel::default(), runtimes(None, None)), [Over::Gone]);
}

#[test]
fn a_name_counts_more_than_the_beginning_of_anothers_id() {
    let twelve = &WEB[..12];
    let seen = view(vec![container(WEB, "web"), container(DB, twelve)]);
    let kernel = FakeKernel::with(&[("/run/docker/web", "n1"), (&format!("/run/docker/{twelve}"), "n2")]);
    let found = |target: &str| {
        find(&kernel, &seen, &target.parse().unwrap()).and_then(|place| Some(place.container?.id))
    };
    assert_eq!(found(twelve).as_deref(), Some(DB));
    assert_eq!(found(&WEB[..13]).as_deref(), Some(WEB));
    assert_eq!(found("web").as_deref(), Some(WEB));
    assert_eq!(found(&WEB[..11]), None, "too short for an id");
}
