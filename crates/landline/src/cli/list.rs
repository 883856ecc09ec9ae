//! What the `ls` commands have in common.

use clap::Args;

use super::ControlOptions;
use crate::listing::{Filter, Format};

/// A listing, and where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    pub(crate) control: ControlOptions,
    #[command(flatten)]
    pub(crate) list: ListOptions,
}

/// Which rows are printed, and how.
#[derive(Debug, Default, Args)]
pub(crate) struct ListOptions {
    /// Print JSON; short for --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Print names only.
    #[arg(short, long, conflicts_with_all = ["json", "format"])]
    pub(crate) quiet: bool,
    /// Only rows with this value in a field of the JSON; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,
    /// `table`, `json`, or a template like '{{.container}} {{.address}}'.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Print ids in full.
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

impl ListOptions {
    /// How rows are printed.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format.clone().unwrap_or(Format::Table) }
    }

    /// An id as it is shown in a table.
    pub(crate) fn id(&self, id: &str) -> String {
        if self.no_trunc { id.to_owned() } else { id.chars().take(12).collect() }
    }
}
