//! The built binary, as a user runs it.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod files;
#[cfg(test)]
mod help;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod lists;
#[cfg(all(test, feature = "manual"))]
mod manual;
#[cfg(test)]
mod mint;
#[cfg(test)]
mod out;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod quickstart;
#[cfg(test)]
mod rotate;
#[cfg(test)]
mod run;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod service;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod traces;
