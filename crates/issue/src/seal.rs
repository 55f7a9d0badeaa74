//! CA keys at rest: PKCS#8 under PBES2 (PBKDF2-HMAC-SHA256, AES-256-CBC), which OpenSSL 3 opens.
//!
//! [RFC 8018 §6.2](https://www.rfc-editor.org/rfc/rfc8018#section-6.2). scrypt at its usual cost is not used:
//! OpenSSL 3 refuses it for its memory limit.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{
        AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
    iv::FixedLength,
    pbkdf2,
};
use pem_rfc7468::LineEnding;
use pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf};
use pkcs8::{EncryptedPrivateKeyInfo, der::Encode};
use zeroize::Zeroizing;

use crate::key::{KeyError, KeyPair, random};

/// Rounds of PBKDF2-HMAC-SHA256 for keys that we seal.
pub const PBKDF2_ROUNDS: u32 = 600_000;

/// The key as `ENCRYPTED PRIVATE KEY` PEM that only `passphrase` opens.
pub fn seal_key(key: &KeyPair, passphrase: &[u8]) -> Result<String, SealError> {
    if passphrase.is_empty() {
        return Err(SealError::EmptyPassphrase);
    }
    let (mut salt, mut iv) = ([0; SALT], [0; BLOCK]);
    random(&mut salt)?;
    random(&mut iv)?;
    let parameters = Parameters::pbkdf2_sha256_aes256cbc(PBKDF2_ROUNDS, &salt, &iv).map_err(|_| SealError::Crypto)?;
    let secret = derive(passphrase, &salt, PBKDF2_ROUNDS)?;
    let mut sealed = key.to_pkcs8().to_vec();
    PaddedBlockEncryptingKey::cbc_pkcs7(cipher_key(&secret)?)
        .and_then(|cipher| cipher.less_safe_encrypt(&mut sealed, EncryptionContext::Iv128(FixedLength::from(&iv))))
        .map_err(|_| SealError::Crypto)?;
    let der = EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data: &sealed }
        .to_der()
        .map_err(|_| SealError::Crypto)?;
    pem_rfc7468::encode_string(ENCRYPTED, LineEnding::LF, &der).map_err(|_| SealError::Crypto)
}

/// The key as plaintext `PRIVATE KEY` PEM: for those who ask for it by name.
pub fn unsealed_pem(key: &KeyPair) -> Result<Zeroizing<String>, SealError> {
    pem_rfc7468::encode_string(PLAINTEXT, LineEnding::LF, &key.to_pkcs8())
        .map(Zeroizing::new)
        .map_err(|_| SealError::Crypto)
}

/// Opens a key file: sealed, or plaintext. `passphrase` is asked for only where the file is sealed.
pub fn open_key(pem: &[u8], passphrase: impl FnOnce() -> Option<Zeroizing<Vec<u8>>>) -> Result<KeyPair, SealError> {
    let (label, der) = pem_rfc7468::decode_vec(pem).map_err(|_| SealError::NotPem)?;
    let der = Zeroizing::new(der);
    match label {
        PLAINTEXT => Ok(KeyPair::from_pkcs8(&der)?),
        ENCRYPTED => {
            let passphrase = passphrase().ok_or(SealError::PassphraseNeeded)?;
            Ok(KeyPair::from_pkcs8(&open(&der, &passphrase)?)?)
        }
        other => Err(SealError::Label(other.to_owned())),
    }
}

fn open(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| SealError::Scheme)?;
    let parameters = info.encryption_algorithm.pbes2().ok_or(SealError::Scheme)?;
    let (Kdf::Pbkdf2(kdf), EncryptionScheme::Aes256Cbc { iv }) = (&parameters.kdf, parameters.encryption) else {
        return Err(SealError::Scheme);
    };
    let secret = derive(passphrase, kdf.salt, rounds(kdf)?)?;
    let mut opened = Zeroizing::new(info.encrypted_data.to_vec());
    let length = PaddedBlockDecryptingKey::cbc_pkcs7(cipher_key(&secret)?)
        .and_then(|cipher| {
            cipher.decrypt(&mut opened, DecryptionContext::Iv128(FixedLength::from(iv))).map(|plain| plain.len())
        })
        .map_err(|_| SealError::WrongPassphrase)?;
    opened.truncate(length);
    // One wrong passphrase in 256 leaves a padding that looks right; what it opens to is not PKCS#8.
    pkcs8::PrivateKeyInfo::try_from(opened.as_slice()).map_err(|_| SealError::WrongPassphrase)?;
    Ok(opened)
}

/// Why a key file could not be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file is not PEM.
    #[error("not a PEM file: a CA key begins with `-----BEGIN ENCRYPTED PRIVATE KEY-----`")]
    NotPem,
    /// Some other PEM block.
    #[error("a PEM block `{0}` where a PKCS#8 private key belongs; convert it with `openssl pkcs8 -topk8`")]
    Label(String),
    /// Sealed with something else than PBES2, PBKDF2-HMAC-SHA256 and AES-256-CBC.
    #[error(
        "the key is not sealed with PBES2, PBKDF2-HMAC-SHA256 and AES-256-CBC; convert it with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000`"
    )]
    Scheme,
    /// More rounds than anyone needs: opening would take minutes.
    #[error("the key asks for {0} rounds of PBKDF2, more than 5,000,000")]
    Rounds(u32),
    /// The file is sealed and no passphrase was given.
    #[error("the key is sealed and no passphrase was given")]
    PassphraseNeeded,
    /// A passphrase of no characters seals nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The passphrase does not open the key.
    #[error("wrong passphrase, or the key file is damaged")]
    WrongPassphrase,
    /// The cipher or the encoder failed.
    #[error("the key could not be sealed")]
    Crypto,
    /// What was opened is not a key of ours.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn rounds(kdf: &Pbkdf2Params<'_>) -> Result<u32, SealError> {
    if kdf.prf != Pbkdf2Prf::HmacWithSha256 || kdf.key_length.is_some_and(|length| length != 32) {
        return Err(SealError::Scheme);
    }
    if kdf.iteration_count > MAX_ROUNDS {
        return Err(SealError::Rounds(kdf.iteration_count));
    }
    Ok(kdf.iteration_count)
}

fn derive(passphrase: &[u8], salt: &[u8], rounds: u32) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let rounds = NonZeroU32::new(rounds).ok_or(SealError::Scheme)?;
    let mut secret = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase, secret.as_mut());
    Ok(secret)
}

fn cipher_key(secret: &[u8; 32]) -> Result<UnboundCipherKey, SealError> {
    UnboundCipherKey::new(&AES_256, secret).map_err(|_| SealError::Crypto)
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAINTEXT: &str = "PRIVATE KEY";
const SALT: usize = 16;
const BLOCK: usize = 16;
const MAX_ROUNDS: u32 = 5_000_000;

#[cfg(test)]
mod tests;
