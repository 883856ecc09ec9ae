//! What people write: network options, endpoint options and their meaning.
