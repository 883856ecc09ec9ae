//! Reading a body within limits.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};

/// How much of an overlong body is read, so that its sender comes to read the answer.
const MAX_DISCARDED: usize = 64 << 20;

/// Why there is no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request is longer than {0} bytes")]
    TooLong(usize),
    #[error("the request did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("the request broke off")]
    Broken,
}

/// The whole body, if it has at most `max` bytes and comes within `deadline`.
pub(crate) async fn read<B>(body: B, max: usize, deadline: Duration) -> Result<Vec<u8>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(deadline, collect(body, max)).await.unwrap_or(Err(BodyError::TooSlow(deadline)))
}

async fn collect<B>(mut body: B, max: usize) -> Result<Vec<u8>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = Vec::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers are none of ours.
        let Ok(data) = frame.into_data() else { continue };
        if discarded > 0 || whole.len() + data.len() > max {
            discarded += data.len();
            if discarded > MAX_DISCARDED {
                break;
            }
        } else {
            whole.extend_from_slice(&data);
        }
    }
    if discarded > 0 { Err(BodyError::TooLong(max)) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn the_limit_is_exact() {
        let read = |size: usize| read(Full::new(Bytes::from(vec![b'x'; size])), 10, Duration::from_secs(5));
        assert_eq!(read(0).await, Ok(Vec::new()));
        assert_eq!(read(10).await, Ok(vec![b'x'; 10]));
        assert_eq!(read(11).await, Err(BodyError::TooLong(10)));
    }
}
