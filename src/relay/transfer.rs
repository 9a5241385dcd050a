//! The bytes of a blob, whichever sources they come from: what is held back, how one body is made of several, and what is too
//! slow. Pure.

mod reassembly;
mod throughput;
mod window;

pub(crate) use reassembly::{Conclusion, Reassembly};
pub(crate) use throughput::{LowSpeedLimit, Throughput, TooSlow};
pub(crate) use window::{HELD_BACK, Window, ends_in_an_error};
