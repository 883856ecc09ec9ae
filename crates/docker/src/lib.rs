//! The Docker front end: plugin protocol and Engine API watcher.
