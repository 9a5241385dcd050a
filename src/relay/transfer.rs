//! The bytes of a blob, whichever sources they come from: what is held back, how one body is made of several, and what is too
//! slow. Pure.

mod hold_back;
mod reassembly;
mod throughput;

pub(crate) use hold_back::{HELD_BACK, HoldBack, ends_in_an_error};
pub(crate) use reassembly::{Conclusion, Reassembly};
pub(crate) use throughput::{LowSpeedLimit, Throughput, TooSlow};
