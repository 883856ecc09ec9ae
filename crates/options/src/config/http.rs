//! Where metrics, health and the page are served over HTTP.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[http]`: a web server that only shows things. There is none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Http {
    /// Where it listens, like `127.0.0.1:9732`.
    pub listen: Option<SocketAddr>,
    /// By which names requests may call it, beside its address and `localhost`.
    pub hosts: Vec<String>,
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    listen: Option<String>,
    remote: bool,
    hosts: Vec<String>,
}

/// The longest name of a host (RFC 1035 section 2.3.4), in bytes.
const MAX_HOST: usize = 253;
/// How many names there may be.
const MAX_HOSTS: usize = 16;

impl TryFrom<Written> for Http {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let listen = written.listen.map(|text| {
            text.parse::<SocketAddr>()
                .map_err(|_| format!("listen is an address and a port, like 127.0.0.1:9732; {text:?} is not"))
        });
        let listen = listen.transpose()?;
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback() && !written.remote) {
            return Err(format!(
                "everyone who can reach {address} could see all containers and their addresses; to allow that, add \
                 remote = true, or listen on 127.0.0.1"
            ));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = |name: &String| (1..=MAX_HOST).contains(&name.len()) && name.bytes().all(fits);
        if written.hosts.len() > MAX_HOSTS || !written.hosts.iter().all(is_name) {
            return Err(format!("hosts are at most {MAX_HOSTS} names, without ports"));
        }
        Ok(Self { listen, hosts: written.hosts })
    }
}

#[cfg(test)]
mod tests {
    use crate::ConfigFile;

    #[test]
    fn it_is_off_and_local_unless_told() {
        let http = |text: &str| ConfigFile::parse(&format!("[http]\n{text}")).map(|file| file.http);
        assert_eq!(http("").unwrap().listen, None);
        for local in ["127.0.0.1:9732", "[::1]:9732", "127.1.2.3:80"] {
            let listen = http(&format!("listen = {local:?}")).unwrap().listen;
            assert_eq!(listen, Some(local.parse().unwrap()));
        }
        let refused = http("listen = \"0.0.0.0:9732\"").unwrap_err().message;
        assert!(refused.contains("remote = true"), "{refused}");
        let told = http("listen = \"192.0.2.1:9732\"\nremote = true\nhosts = [\"lan.example\"]").unwrap();
        assert_eq!(told.hosts, ["lan.example"]);
        for text in
            ["listen = \"localhost\"", "listen = 9732", "hosts = [\"a b\"]", "hosts = [\"\"]", "port = 1"]
        {
            assert!(http(text).is_err(), "{text}");
        }
    }
}
