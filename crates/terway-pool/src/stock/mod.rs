//! The addresses of shared ENIs: which there are, where each is in its life, and which one goes to whom next.
//! Pure data with its indexes; what the cloud is asked for is decided in `crate::sharing`.

mod address_life;
mod bitmap;
mod block;
mod book;
mod choice;
mod contents;
mod index;
mod numbers;
mod shelf;
#[cfg(test)]
mod tests;

pub(crate) use address_life::{Item, Life, Step, Trust};
pub(crate) use block::Block;
pub(crate) use book::{EniNo, Rules, Stock};
pub(crate) use contents::Adopted;
pub(crate) use numbers::{PREFIX_V4, Totals};
pub(crate) use shelf::{Job, Learned, Shelf, Slot, Stage, Work};
