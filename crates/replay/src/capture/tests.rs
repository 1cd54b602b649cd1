//! Each variety of capture, each link type, each kind of damage.

mod damage;
mod formats;
mod links;
mod tools;
