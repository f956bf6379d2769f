//! Certificates of one test, made by `openssl`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::node::run;

/// A certificate authority, and a server and a client that it vouches for; all PEM files.
#[derive(Debug)]
pub struct Certificates {
    /// The authority.
    pub ca: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub server_cert: PathBuf,
    /// PKCS#8.
    pub server_key: PathBuf,
    /// The client.
    pub client_cert: PathBuf,
    /// PKCS#8.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `dir`.
    ///
    /// # Errors
    /// `openssl` is missing or fails.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let file = |name: &str| dir.join(name);
        let made = Self {
            ca: file("ca.pem"),
            server_cert: file("server.pem"),
            server_key: file("server.key"),
            client_cert: file("client.pem"),
            client_key: file("client.key"),
        };
        let ca_key = file("ca.key");
        key(&ca_key)?;
        run(openssl(&[
            "req",
            "-x509",
            "-new",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
        ])
        .args(["-key".as_ref(), ca_key.as_os_str()])
        .args(["-out".as_ref(), made.ca.as_os_str()]))?;
        let sign = |name: &str, key_file: &Path, cert: &Path| {
            sign(dir, name, (key_file, cert), (&ca_key, &made.ca))
        };
        sign("localhost", &made.server_key, &made.server_cert)?;
        sign("client", &made.client_key, &made.client_cert)?;
        Ok(made)
    }
}

/// Makes a key and a certificate that the authority has signed.
fn sign(
    dir: &Path,
    name: &str,
    (key_file, cert): (&Path, &Path),
    (ca_key, ca): (&Path, &Path),
) -> io::Result<()> {
    let request = dir.join(format!("{name}.csr"));
    let extensions = dir.join(format!("{name}.ext"));
    fs::write(
        &extensions,
        "subjectAltName = DNS:localhost,IP:127.0.0.1\nextendedKeyUsage = serverAuth,clientAuth\n",
    )?;
    key(key_file)?;
    run(openssl(&["req", "-new", "-subj", &format!("/CN={name}")])
        .args(["-key".as_ref(), key_file.as_os_str()])
        .args(["-out".as_ref(), request.as_os_str()]))?;
    run(openssl(&["x509", "-req", "-days", "2", "-CAcreateserial"])
        .args(["-in".as_ref(), request.as_os_str()])
        .args(["-CA".as_ref(), ca.as_os_str()])
        .args(["-CAkey".as_ref(), ca_key.as_os_str()])
        .args(["-extfile".as_ref(), extensions.as_os_str()])
        .args(["-out".as_ref(), cert.as_os_str()]))
    .map(drop)
}

fn key(path: &Path) -> io::Result<()> {
    run(openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ])
    .args(["-out".as_ref(), path.as_os_str()]))
    .map(drop)
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}
