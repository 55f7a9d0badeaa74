//! Flows: with the real authority, and with processes that are killed.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod estate;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod strangers;
