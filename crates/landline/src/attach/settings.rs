//! `landline config check` and `landline allow`.

use std::path::Path;

use landline_options::{Allowed, ConfigFile, Parent};

use super::service::{SettingsError, read};
use crate::cli::{AllowOptions, ConfigOptions};
use crate::control::{Answer, Request, call};
use crate::files;
use crate::output::{CommandError, complain, say};

/// Why the configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AllowError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot write {path}")]
    Write {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot change {path}")]
    Edit {
        path: std::path::PathBuf,
        #[source]
        source: landline_options::ConfigError,
    },
    #[error("say what to allow: landline allow PARENT, or landline allow --changes")]
    Nothing,
    #[error("what is allowed is an interface by its name; ip link shows those of network cards")]
    ByName,
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Says whether the daemon would take the file.
pub(crate) fn check(options: &ConfigOptions) -> Result<(), SettingsError> {
    read(&options.config)?;
    let path = options.config.display();
    if options.config.exists() {
        say(format_args!("{path} is valid"));
    } else {
        say(format_args!("there is no {path}; the daemon uses its defaults"));
    }
    Ok(())
}

/// Writes it into the file, and has the daemon read that.
pub(crate) async fn allow(options: &AllowOptions) -> Result<(), AllowError> {
    let path = &options.config.config;
    let (mut text, _) = read(path)?;
    let edit = |source| AllowError::Edit { path: path.clone(), source };
    if options.parent.is_none() && !options.changes {
        return Err(AllowError::Nothing);
    }
    if let Some(parent) = &options.parent {
        if matches!(parent, Parent::Mac(_)) {
            return Err(AllowError::ByName);
        }
        let parent = parent.to_string();
        let more = Allowed {
            kinds: options.kind.clone(),
            subnets: options.subnet.clone(),
            vlans: options.vlan.clone(),
            macs: options.macs,
            host_access: options.host_access,
            client_ids: options.client_ids,
            hostnames: options.hostnames,
            host_ifnames: options.host_ifnames,
            mtus: options.mtus,
            bridges: options.bridges,
        };
        text = ConfigFile::allow(&text, &parent, &more).map_err(edit)?;
    }
    if options.changes {
        text = ConfigFile::allow_changes(&text).map_err(edit)?;
    }
    write(path, &text).map_err(|source| AllowError::Write { path: path.clone(), source })?;
    if let Some(Parent::Name(name)) = &options.parent
        && !Path::new("/sys/class/net").join(name.as_str()).exists()
    {
        complain(format_args!("there is no interface {name} on this host yet"));
    }
    match call(&options.control.control_socket, &Request::Reload).await.map_err(CommandError::from) {
        Ok(Answer::Done) => {}
        Ok(_) => return Err(CommandError::Unexpected.into()),
        Err(error) => complain(format_args!("it counts from the daemon's next start ({error})")),
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    files::replace(path, text, 0o644)
}
