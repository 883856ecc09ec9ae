//! The IPAM driver's trait: a method for each request of Docker's about addresses.

use std::future::Future;
use std::time::Duration;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::driver::DriverError;
use crate::protocol::{AddressRequest, PoolAnswer, PoolRequest, ReleaseAddressRequest};

/// Does the work behind Docker's IPAM plugin protocol.
///
/// What is answered is kept: Docker does not tell it again. What does not exist (any more) is released
/// successfully. As with [`Driver`](crate::Driver), a future is never dropped half-way, and none may ask Docker anything.
pub trait IpamDriver: Send + Sync + 'static {
    /// Makes a pool for a network that Docker is about to create.
    fn request_pool(
        &self,
        request: PoolRequest,
    ) -> impl Future<Output = Result<PoolAnswer, DriverError>> + Send;

    /// Forgets a pool.
    fn release_pool(&self, pool: String) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Gives an address, with the length of its prefix.
    ///
    /// `peer` and `cancel` are as in [`Driver::create_endpoint`](crate::Driver::create_endpoint): when nobody waits for the
    /// answer any more nothing may be left behind, and if it comes too late, [`release_address`] follows.
    ///
    /// [`release_address`]: Self::release_address
    fn request_address(
        &self,
        request: AddressRequest,
        peer: Option<u32>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<IpNet, DriverError>> + Send;

    /// How long [`request_address`](Self::request_address) may take with this pool.
    fn request_address_deadline(&self, pool: &str) -> Duration {
        let _ = pool;
        Duration::from_secs(30)
    }

    /// Takes an address back.
    fn release_address(
        &self,
        request: ReleaseAddressRequest,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;
}
