//! The broker on RabbitMQ: the laws of the contract, and what only a server can do to us.
#![cfg(test)]

mod conformance;
mod consuming;
mod outage;
mod publishing;
mod stand;
mod tls;
