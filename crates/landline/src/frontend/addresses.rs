//! The engine as a Docker IPAM driver.

use std::time::Duration;

use ipnet::IpNet;
use landline_docker::{
    AddressRequest, DriverError, IpamDriver, PoolAnswer, PoolRequest, ReleaseAddressRequest,
};
use landline_engine::Starting;
use landline_ipam::{PoolId, RequestAddress, RequestPool};
use landline_model::ContainerRecord;
use landline_options::{EndpointOptions, IpamOptions, PoolSource};
use tokio_util::sync::CancellationToken;

use super::{Frontend, IpamName, MARGIN, RequestError, record};
use crate::{named, placeholders};

impl IpamDriver for Frontend {
    async fn request_pool(&self, request: PoolRequest) -> Result<PoolAnswer, DriverError> {
        let mut options = IpamOptions::parse(&request.user_options())?;
        if self.ipam_name == IpamName::FromLan {
            match options.addressing {
                None | Some(PoolSource::Dhcp) => options.addressing = Some(PoolSource::Dhcp),
                Some(PoolSource::Pool) => {
                    return Err(RequestError::PoolFromLan(self.lan_ipam_name.clone()).into());
                }
            }
        }
        let PoolRequest { pool: subnet, sub_pool: range, v6, .. } = request;
        let (id, subnet) = self.parts.ipam.request_pool(RequestPool { subnet, range, v6, options }).await?;
        Ok(PoolAnswer { id: id.to_string(), subnet })
    }

    async fn release_pool(&self, pool: String) -> Result<(), DriverError> {
        Ok(self.parts.ipam.release_pool(&pool.into()).await?)
    }

    async fn request_address(
        &self,
        request: AddressRequest,
        dockerd: Option<u32>,
        cancel: CancellationToken,
    ) -> Result<IpNet, DriverError> {
        let pool: PoolId = request.pool.clone().into();
        if request.is_gateway() {
            return Ok(self.parts.ipam.request_gateway(&pool, request.address).await?);
        }
        let name = request.endpoint_name().map(str::to_owned);
        self.parts.ipam.recognise_pool(&pool).await;
        let candidates = match (&name, self.parts.ipam.network_of_pool(&pool)) {
            (None, Some(network)) => self.starting(&network, None, dockerd).await,
            _ => Some(Vec::new()),
        };
        let mut container = Starting { name: name.clone(), candidates, ..Starting::default() };
        if let (Some(name), Some(network)) = (&name, self.parts.ipam.network_of_pool(&pool))
            && let Some((info, requested)) = named::container(self.view.clone(), name, &network).await
        {
            container.container = Some(ContainerRecord { address: requested.address, ..record(&info) });
            container.mac = requested.mac;
            let mut options = requested.options;
            placeholders::fill(&mut options, Some(&info.place()));
            container.options = EndpointOptions::parse(&options)?;
        }
        let wanted = RequestAddress { pool, named: request.address, container };
        Ok(self.parts.ipam.request_address(wanted, cancel).await?)
    }

    fn request_address_deadline(&self, pool: &str) -> Duration {
        let network = self.parts.ipam.network_of_pool(&pool.to_owned().into());
        network.and_then(|id| self.parts.engine.start_limit(&id)).unwrap_or_default() + MARGIN
    }

    async fn release_address(&self, request: ReleaseAddressRequest) -> Result<(), DriverError> {
        let Some(address) = request.address else { return Ok(()) };
        Ok(self.parts.ipam.release_address(&request.pool.into(), address).await?)
    }
}
