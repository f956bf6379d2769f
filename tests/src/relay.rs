//! A TCP relay that can be cut: what a network does, or the death of a process.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Passes connections on to a port of this machine until it is cut.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    /// Bumped by a cut.
    cuts: watch::Sender<u64>,
    /// Dropped with the relay: nobody listens any more.
    _listening: JoinSet<()>,
}

impl Relay {
    /// Listens on a free port for `target`.
    ///
    /// # Errors
    /// No port.
    pub async fn to(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (cuts, cut) = watch::channel(0);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                passing.spawn(pass(client, target, cut.clone()));
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            port,
            cuts,
            _listening: listening,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection; new ones are passed on again.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pass(mut client: TcpStream, target: u16, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    tokio::select! {
        // Both ends see for themselves how it ended.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
