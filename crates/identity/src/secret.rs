//! A value that is never printed and is wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

/// A secret: redacted in `Debug`, wiped on drop, read only through [`Secret::expose`].
///
/// There is no `Display`, no `Serialize` and no `Clone`; `grep expose` finds every reader.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes `value` into keeping.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Do not log it, do not put it in an error.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret:?}"), "Secret([redacted])");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn drop_wipes() {
        struct Probe(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let wiped = std::sync::Arc::default();
        drop(Secret::new(Probe(std::sync::Arc::clone(&wiped))));
        assert!(wiped.load(std::sync::atomic::Ordering::SeqCst));
    }
}
