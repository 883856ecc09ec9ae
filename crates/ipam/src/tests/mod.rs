//! Who gets which address, what is refused with which sentence, and what is given back, on a machine that is lists.

mod addresses;
mod leases;
mod pools;
mod world;
