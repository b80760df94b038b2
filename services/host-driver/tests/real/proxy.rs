//! A wire to libvirtd that can be cut: what a restart of libvirtd looks like from here.

use std::path::Path;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

const LIBVIRTD: &str = "/var/run/libvirt/libvirt-sock";

/// The wire; dropping it cuts it.
pub struct Proxy(JoinHandle<()>);

impl Proxy {
    /// Listens at `socket` and hands everything on to libvirtd.
    pub fn start(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("a socket");
        Self(tokio::spawn(async move {
            // ended with this task: every connection breaks with it
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far =
                        UnixStream::connect(LIBVIRTD).await.expect("libvirtd: deploy/libvirt.sh start");
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}
