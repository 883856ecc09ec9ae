//! The verbs of Docker's plugin protocol.

use std::fmt;

/// What Docker asks for, one per path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Activate,
    GetCapabilities,
    GwAllocCheck,
    AllocateNetwork,
    FreeNetwork,
    CreateNetwork,
    DeleteNetwork,
    CreateEndpoint,
    EndpointOperInfo,
    DeleteEndpoint,
    Join,
    Leave,
    ProgramExternalConnectivity,
    RevokeExternalConnectivity,
    DiscoverNew,
    DiscoverDelete,
    IpamGetCapabilities,
    GetDefaultAddressSpaces,
    RequestPool,
    ReleasePool,
    RequestAddress,
    ReleaseAddress,
}

impl Verb {
    /// All of them.
    pub(crate) const ALL: [Self; 22] = [
        Self::Activate,
        Self::GetCapabilities,
        Self::GwAllocCheck,
        Self::AllocateNetwork,
        Self::FreeNetwork,
        Self::CreateNetwork,
        Self::DeleteNetwork,
        Self::CreateEndpoint,
        Self::EndpointOperInfo,
        Self::DeleteEndpoint,
        Self::Join,
        Self::Leave,
        Self::ProgramExternalConnectivity,
        Self::RevokeExternalConnectivity,
        Self::DiscoverNew,
        Self::DiscoverDelete,
        Self::IpamGetCapabilities,
        Self::GetDefaultAddressSpaces,
        Self::RequestPool,
        Self::ReleasePool,
        Self::RequestAddress,
        Self::ReleaseAddress,
    ];

    /// Whether Docker only tells the driver something that it finds out by itself, at the latest when the endpoint is deleted. A
    /// repeat without its contents then succeeds: an error costs a container its network on engine 29.
    pub(crate) const fn only_notifies(self) -> bool {
        matches!(self, Self::Leave | Self::ProgramExternalConnectivity | Self::RevokeExternalConnectivity)
    }

    /// The path it is asked for with.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Activate => "/Plugin.Activate",
            Self::GetCapabilities => "/NetworkDriver.GetCapabilities",
            Self::GwAllocCheck => "/NetworkDriver.GwAllocCheck",
            Self::AllocateNetwork => "/NetworkDriver.AllocateNetwork",
            Self::FreeNetwork => "/NetworkDriver.FreeNetwork",
            Self::CreateNetwork => "/NetworkDriver.CreateNetwork",
            Self::DeleteNetwork => "/NetworkDriver.DeleteNetwork",
            Self::CreateEndpoint => "/NetworkDriver.CreateEndpoint",
            Self::EndpointOperInfo => "/NetworkDriver.EndpointOperInfo",
            Self::DeleteEndpoint => "/NetworkDriver.DeleteEndpoint",
            Self::Join => "/NetworkDriver.Join",
            Self::Leave => "/NetworkDriver.Leave",
            Self::ProgramExternalConnectivity => "/NetworkDriver.ProgramExternalConnectivity",
            Self::RevokeExternalConnectivity => "/NetworkDriver.RevokeExternalConnectivity",
            Self::DiscoverNew => "/NetworkDriver.DiscoverNew",
            Self::DiscoverDelete => "/NetworkDriver.DiscoverDelete",
            Self::IpamGetCapabilities => "/IpamDriver.GetCapabilities",
            Self::GetDefaultAddressSpaces => "/IpamDriver.GetDefaultAddressSpaces",
            Self::RequestPool => "/IpamDriver.RequestPool",
            Self::ReleasePool => "/IpamDriver.ReleasePool",
            Self::RequestAddress => "/IpamDriver.RequestAddress",
            Self::ReleaseAddress => "/IpamDriver.ReleaseAddress",
        }
    }

    /// The path without its slash, like `NetworkDriver.Join`.
    pub(crate) fn name(self) -> &'static str {
        self.path().trim_start_matches('/')
    }

    /// The request this path means.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.path() == path)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        f.write_str(path.split_once('.').map_or(path, |(_, verb)| verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_path() {
        for verb in Verb::ALL {
            assert_eq!(Verb::of_path(verb.path()), Some(verb));
        }
        assert_eq!(Verb::CreateEndpoint.to_string(), "CreateEndpoint");
        assert_eq!(Verb::GetCapabilities.name(), "NetworkDriver.GetCapabilities");
        for path in
            ["", "/", "/NetworkDriver.", "NetworkDriver.Join", "/networkdriver.join", "/IpamDriver.Join"]
        {
            assert_eq!(Verb::of_path(path), None, "{path}");
        }
    }
}
