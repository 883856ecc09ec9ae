//! The task that keeps one endpoint's addresses of one family.
//!
//! It owns the family's [`Machine`]. It sleeps without sockets until the machine's next deadline, opens them where the link
//! is (host or sandbox) while an exchange or a conflict check runs, has what changes stored before it counts, and keeps
//! the sandbox in step with it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_types::chain;
use tokio::sync::mpsc;

use super::client::Client;
use super::handle::{Command, Supervised};
use super::machine::{Base, Machine, Transmit};
use super::pace::Due;
use super::sandbox_move::MoveOutcome;
use crate::sockets::Location;

/// How long Docker may take from putting an address on a link to setting the gateway, which fails without the address;
/// and the start with it. An address that another host has turned out to have stays that long.
const SET_UP: Duration = Duration::from_secs(2);

/// The task.
pub(crate) struct Supervisor<M: Machine> {
    machine: M,
    base: Base,
    sockets: Option<M::Sockets>,
    outbox: VecDeque<Transmit<M>>,
}

impl<M: Machine> Supervisor<M> {
    /// Starts it.
    pub(crate) fn spawn(machine: M, base: Base) -> Supervised<M::Status> {
        let status = machine.status();
        let supervisor = Self { machine, base, sockets: None, outbox: VecDeque::new() };
        Supervised::spawn(status, |inbox| supervisor.run(inbox))
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        if !self.base.undecided {
            // The daemon was away: the sandbox may have missed a change.
            self.configure().await;
        }
        let clock = self.base.location.services.clock.clone();
        loop {
            self.settle().await;
            let due = self.machine.client().poll_timeout().map(Instant::since_boot);
            let deadline = [due, self.base.pace.next(), self.base.names.next()].into_iter().flatten().min();
            tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    Some(Command::Stop { release, done }) => {
                        self.stop(release).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.command(command).await,
                    None => return,
                },
                outcome = maybe(self.base.location.link_move.as_mut()) => self.arrived(outcome).await,
                received = receive::<M>(self.sockets.as_ref()) => match received {
                    Ok(received) => self.machine.received(&self.base, received),
                    Err(error) => {
                        // The link went down or moved away under the socket.
                        tracing::debug!(%error, endpoint = self.base.endpoint(), "sockets lost");
                        self.sockets = None;
                        self.base.location.unopened = true;
                    }
                },
                heard = self.machine.overhear(self.base.location.sandbox.as_ref()) => {
                    if self.machine.overheard(&self.base, heard, self.sockets.is_some()) {
                        self.configure().await;
                    }
                }
                () = clock.sleep_until(self.base.told_until.filter(|_| self.base.deferred)) => {
                    (self.base.told_until, self.base.deferred) = (None, false);
                    self.configure().await;
                    self.machine.settled(&self.base);
                }
                () = clock.sleep_until(deadline) => {
                    let now = clock.now();
                    if self.machine.client().poll_timeout().is_some_and(|due| due <= now) {
                        self.base.location.unopened = false;
                        self.machine.client().handle_timeout(now);
                    }
                }
            }
        }
    }

    async fn stop(&mut self, release: bool) {
        if self.base.pace.take_early().is_some() {
            self.machine.remember(&mut self.base).await;
        }
        if release {
            self.machine.release(&mut self.base, &mut self.sockets).await;
        }
        self.sockets = None;
    }

    async fn command(&mut self, command: Command) {
        let now = self.base.now();
        match command {
            Command::Joined { index, sandbox } => {
                // What Docker was told, whatever has become of the lease.
                let told = M::told(&self.base.location.endpoint.read().await);
                self.base.location.joined(index, sandbox, told, M::OWN_V6);
            }
            Command::Left => {
                self.sockets = None;
                self.base.location.left();
            }
            Command::Hostname(name) => self.base.names.want(name),
            // It was given back, and is wanted again.
            Command::Renew if self.machine.client().is_stopped() => self.machine.client().restart(now),
            Command::Renew => self.machine.client().renew(now),
            Command::LinkUp => self.machine.client().link_up(now),
            Command::Recheck => self.machine.client().recheck(now),
            Command::Release => {
                self.machine.release(&mut self.base, &mut self.sockets).await;
                self.machine.remember(&mut self.base).await;
                self.configure().await;
            }
            Command::Reconnected => {
                self.machine.client().restart(now);
                // What carried the addresses may be a new link.
                self.configure().await;
            }
            Command::Allow => {
                self.base.withheld = false;
                if self.base.pace.take_early().is_some() {
                    self.machine.remember(&mut self.base).await;
                }
                self.configure().await;
            }
            Command::Stop { .. } => {}
        }
    }

    async fn arrived(&mut self, outcome: MoveOutcome) {
        self.sockets = None;
        if outcome == MoveOutcome::Late {
            tracing::warn!(endpoint = self.base.endpoint(), "the link was moved but not set up in time");
        }
        if self.base.location.arrived(outcome) {
            self.base.told_until = Some(self.base.now().since_boot() + SET_UP);
            self.configure().await;
        }
    }

    /// Does everything the machine wants done now.
    async fn settle(&mut self) {
        let now = self.base.now();
        if let Some(name) = self.base.names.take(now.since_boot()) {
            self.machine.client().set_hostname(now, name);
        }
        loop {
            let mut quiet = true;
            while let Some(event) = self.machine.client().poll_event() {
                quiet = false;
                if self.machine.event(&mut self.base, event) {
                    self.machine.remember(&mut self.base).await;
                    self.configure().await;
                }
            }
            while let Some(transmit) = self.machine.client().poll_transmit() {
                quiet = false;
                self.outbox.push_back(transmit);
            }
            if quiet {
                break;
            }
        }
        self.keep().await;
        if self.machine.publish() {
            self.base.location.endpoint.names_changed();
        }
        self.transmit().await;
    }

    /// Stores the state, and sets the link up, if that is due. Before the endpoint is stored nothing is on disk or in a
    /// sandbox, and its start waits for the addresses: then all of it is done at once.
    async fn keep(&mut self) {
        if self.base.pace.next().is_none() {
            return;
        }
        let stored = self.base.location.endpoint.is_stored().await;
        let now = self.base.now().since_boot();
        let pace = &mut self.base.pace;
        let due = if stored { pace.take(now) } else { pace.take_early() };
        let Some(due) = due else { return };
        self.machine.remember(&mut self.base).await;
        if due == Due::SetUp {
            self.configure().await;
        }
    }

    async fn transmit(&mut self) {
        let wanted = self.machine.client().wants_socket();
        // Between leaving the host and being set up in the sandbox nothing can be sent: it waits.
        let moving = self.base.location.is_moving();
        if (wanted || !self.outbox.is_empty())
            && self.sockets.is_none()
            && !moving
            && !self.base.location.unopened
        {
            self.sockets = self.base.location.open(self.machine.opener()).await;
        }
        let open = self.sockets.is_some();
        let (waiting, leaving): (VecDeque<_>, VecDeque<_>) =
            self.outbox.drain(..).partition(|transmit| moving && M::waits(transmit, open));
        self.outbox = waiting;
        // Newer ones overtake them.
        let excess = self.outbox.len().saturating_sub(M::WAITING);
        self.outbox.drain(..excess);
        for transmit in leaving {
            if let Some(Err(error)) = self.sockets.as_mut().map(|sockets| M::send(sockets, &transmit)) {
                tracing::debug!(%error, endpoint = self.base.endpoint(), "not sent");
                if moving {
                    self.outbox.push_back(transmit);
                }
            }
        }
        if !wanted {
            self.sockets = None;
        }
    }

    /// Brings the sandbox in line with the machine. Before the link has arrived there is nothing to do: Docker configures
    /// what it was told, and arriving looks again. What is withheld is set up when that is allowed.
    async fn configure(&mut self) {
        let Some(Location::Sandbox(path)) = self.base.location.place.clone() else { return };
        if self.base.withheld {
            return;
        }
        let Some(job) = self.machine.job(&mut self.base).await else { return };
        let (sandboxes, mark) =
            (self.base.location.services.sandboxes.clone(), self.base.location.mark.clone());
        let entered = landline_links::blocking(move || {
            let Some(mut inside) = sandboxes.enter(&path, &mark)? else { return Ok(None) };
            Ok(Some(job(&mut *inside)))
        });
        let done = match entered.await {
            Ok(Some((applied, done))) => {
                if let Err(error) = self.machine.applied(&mut self.base, applied).await {
                    tracing::error!(error = %chain(&error), "a change of a sandbox could not be stored");
                }
                self.base.location.endpoint.was_set_up();
                done
            }
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        match done {
            Ok(again) => {
                self.base.deferred |= again;
                self.base.pace.succeeded();
            }
            Err(error) => {
                tracing::error!(endpoint = self.base.endpoint(), error = %chain(&error), "sandbox not configured");
                self.base.pace.failed(self.base.now().since_boot());
            }
        }
    }
}

async fn maybe<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn receive<M: Machine>(sockets: Option<&M::Sockets>) -> io::Result<M::Received> {
    match sockets {
        Some(sockets) => M::receive(sockets).await,
        None => std::future::pending().await,
    }
}
