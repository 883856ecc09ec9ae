//! Attachments as they are shown.

use landline_engine::EndpointView;
use serde::{Deserialize, Serialize};

use super::record::{AttachmentId, Origin};
use super::{Attachments, Slot};

/// An attachment, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Its id.
    pub id: String,
    /// Whom it is for, as it was written.
    pub target: String,
    /// The container's name, if it is one of Docker's or a runtime's.
    pub container: Option<String>,
    /// `command`, `config`, the label or variable that asks for it, or a runtime's network, like `cni:lan`.
    pub origin: String,
    /// Its parent on the host.
    pub parent: String,
    /// The interface's name in the container, where it is or is to be.
    pub interface: Option<String>,
    /// Its static addresses, with their routers.
    pub addresses: Vec<String>,
    /// Whether it gets an address from the LAN.
    pub dhcp: bool,
    /// Whether it is in a container now.
    pub attached: bool,
    /// The leased address and all else, while it is attached and not without an endpoint.
    pub endpoint: Option<EndpointView>,
}

impl Attachments {
    /// All attachments, ordered by container and interface.
    pub async fn views(&self) -> Vec<AttachmentView> {
        let mut views = Vec::new();
        for slot in self.slots.all() {
            views.push(self.view(&slot).await);
        }
        views.sort_by(|a, b| {
            (&a.container, &a.target, &a.interface, &a.id).cmp(&(
                &b.container,
                &b.target,
                &b.interface,
                &b.id,
            ))
        });
        views
    }

    pub(super) async fn view(&self, slot: &Slot) -> AttachmentView {
        let record = slot.read();
        let endpoint = self.engine.endpoint_view(record.id.endpoint()).await;
        AttachmentView {
            id: record.id.to_string(),
            target: record.target.to_string(),
            container: match &record.origin {
                Origin::Runtime(owner) => Some(owner.shown().to_owned()),
                _ => record.container.as_ref().map(|container| container.name.clone()),
            },
            origin: match &record.origin {
                Origin::Command => "command".into(),
                Origin::Config => "config".into(),
                Origin::Container(source) => source.clone(),
                Origin::Runtime(owner) => owner.network_name(),
            },
            parent: super::apply::parent_text(&record.spec.parent),
            interface: record.name().map(|name| name.to_string()),
            addresses: record.spec.addresses.iter().map(ToString::to_string).collect(),
            dhcp: record.spec.dhcp,
            attached: record.inside.is_some(),
            endpoint,
        }
    }

    /// All attachments as they are stored.
    pub fn records(&self) -> Vec<super::AttachmentRecord> {
        self.slots.all().iter().map(|slot| slot.read()).collect()
    }

    /// The attachment of this id.
    pub fn get(&self, id: &AttachmentId) -> Option<super::AttachmentRecord> {
        self.slots.get(id).map(|slot| slot.read())
    }
}
