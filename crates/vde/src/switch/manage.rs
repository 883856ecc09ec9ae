//! The management socket: who talks to it, and what they are told.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use super::Counters;
use super::console::{Command, Refusal};
use super::core::{Core, Flow, Source};
use super::fabric::UPLINK;
use super::session::Due;
use crate::dir::{Access, Dir, DirError};
use crate::poll::{IN, IN_OUT, OUT};
use crate::socket;

/// How many lines of a session are carried out before the others have their turn.
const LINES: usize = 16;

/// The management socket, named as long as it is listened on.
pub(super) struct Console {
    pub(super) listener: OwnedFd,
    dir: Dir,
    name: OsString,
}

impl Console {
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, DirError> {
        let (dir, name) = Dir::above(path, access)?;
        let listener = socket::listen(&dir, &name, access)?;
        Ok(Self { listener, dir, name })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.dir.remove(&self.name);
    }
}

impl Core {
    pub(super) fn serve_console(&mut self, id: u32, now: Instant) -> Flow {
        let Some(mut session) = self.sessions.remove(&id) else { return Flow::GoOn };
        // What one turn may cost: a part of an answer, or some lines. Frames wait meanwhile.
        let mut what = IN_OUT;
        for _ in 0..LINES {
            match session.due(now) {
                Due::Line(line) => match Command::parse(&line) {
                    Ok(None) => session.prompt(),
                    Ok(Some(Command::Logout)) => session.bye(),
                    Ok(Some(Command::Shutdown)) => {
                        session.done(Ok(()));
                        let _ = session.flush();
                        tracing::info!(dir = %self.dir.display(), "a VDE switch was told to end");
                        return Flow::End { remove: true, asked: false };
                    }
                    Ok(Some(command)) => {
                        if let Some(result) = self.carry_out(command) {
                            session.done(result);
                        } else {
                            session.answer(command, self.report(command, None, now));
                            break;
                        }
                    }
                    Err(refusal) => session.done(Err(refusal)),
                },
                Due::More(question, from) => {
                    // What was a question is one still.
                    let part = self.report(question, Some(from), now).unwrap_or_default();
                    session.go_on(question, part);
                    break;
                }
                Due::Write => {
                    what = OUT;
                    break;
                }
                Due::Read => {
                    what = IN;
                    break;
                }
                Due::End => return Flow::GoOn,
            }
        }
        if self.poll.change(&session.stream, Source::Session(id).token(), what).is_ok() {
            self.sessions.insert(id, session);
        }
        Flow::GoOn
    }

    /// Does what it is told; `None`: it is a question.
    fn carry_out(&mut self, command: Command) -> Option<Result<(), Refusal>> {
        let done = |ok: bool, refusal| if ok { Ok(()) } else { Err(refusal) };
        Some(match command {
            Command::SetPorts(count) => {
                // Nobody is thrown out.
                let highest =
                    self.ports.iter().filter(|(_, p)| !p.endpoints.is_empty()).map(|(n, _)| *n).max();
                if count == 0 || highest.is_some_and(|highest| highest > count) {
                    return Some(Err(Refusal::Invalid));
                }
                self.limit = count;
                Ok(())
            }
            Command::SetHub(hub) => {
                self.fabric.hub = hub;
                Ok(())
            }
            Command::SetVlan(port, vlan) => {
                if !self.has_port(port) {
                    return Some(Err(Refusal::Invalid));
                }
                done(self.fabric.set_untagged(port, vlan), Refusal::NotFound)
            }
            Command::Close(port, id) => done(self.unplug(port, id), Refusal::NotFound),
            Command::ResetCounter(which) => {
                let all = self.ports.iter_mut().filter(|(number, _)| which.is_none_or(|w| w == **number));
                all.for_each(|(_, port)| port.counters = Counters::default());
                if which.is_none_or(|which| which == UPLINK) {
                    self.uplink.counters = Counters::default();
                }
                Ok(())
            }
            Command::VlanCreate(vlan) => {
                if self.fabric.vlans.contains_key(&vlan) {
                    return Some(Err(Refusal::Exists));
                }
                self.fabric.vlans.insert(vlan, BTreeSet::new());
                Ok(())
            }
            Command::VlanRemove(vlan) => {
                if self.fabric.in_use(vlan) {
                    return Some(Err(Refusal::InUse));
                }
                done(self.fabric.vlans.remove(&vlan).is_some(), Refusal::NotFound)
            }
            Command::VlanAddPort(vlan, port) => {
                if !self.has_port(port) || !self.fabric.vlans.contains_key(&vlan) {
                    return Some(Err(Refusal::NotFound));
                }
                done(self.fabric.add_tagged(vlan, port), Refusal::Full)
            }
            Command::VlanDelPort(vlan, port) => {
                done(self.fabric.vlans.get_mut(&vlan).is_some_and(|p| p.remove(&port)), Refusal::NotFound)
            }
            // Said where the session is at hand.
            Command::Logout | Command::Shutdown => Ok(()),
            _ => return None,
        })
    }
}
