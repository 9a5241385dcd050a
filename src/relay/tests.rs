//! Tests of the whole pull path over a modelled network.

mod fleet;
