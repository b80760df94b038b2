//! Serves serial consoles over live channels. Who may open one was decided by the gateway.

use crate::hosts::Hosts;
use crate::store::vms;
use crate::translate::incoming;
use ::store::Store;
use bus::live::{self, Channel, Opening};
use host_driver_adapters::Console;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Before the subject is served again after the broker refused it.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers openings until told to stop.
pub async fn serve(
    bus: bus::Connection,
    agent_id: String,
    store: Store,
    hosts: Arc<Hosts>,
    stop: CancellationToken,
) {
    let subject = live::console_subject(&agent_id);
    let mut consoles = JoinSet::new();
    while !stop.is_cancelled() {
        match live::serve(&bus, &subject).await {
            Err(error) => tracing::warn!(%error, "consoles are not served"),
            Ok(mut openings) => loop {
                let opening =
                    tokio::select! { () = stop.cancelled() => return, opening = openings.recv() => opening };
                let Some(opening) = opening else { break };
                while consoles.try_join_next().is_some() {}
                consoles.spawn(answer(opening, store.clone(), hosts.clone()));
            },
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(PAUSE) => {} }
    }
}

async fn answer(opening: Opening, store: Store, hosts: Arc<Hosts>) {
    let outcome = match open(&opening.request, &store, &hosts).await {
        Err(reason) => opening.refuse(&reason).await,
        Ok(console) => match opening.accept().await {
            Ok(channel) => {
                join(channel, console).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a console was not opened");
    }
}

/// The console of the instance that `request` names. The error is for the person who asked.
async fn open(request: &[u8], store: &Store, hosts: &Hosts) -> Result<Console, String> {
    let instance = std::str::from_utf8(request).map_err(|_| "an instance id was expected".to_owned())?;
    let row = vms::of_instance(store.reader(), instance).await.map_err(|e| e.to_string())?;
    let row = row.ok_or_else(|| format!("no instance {instance:?} on this host"))?;
    let spec = incoming::spec(&row.spec).map_err(|refusal| refusal.to_string())?;
    let backend = hosts.get(row.key.host).and_then(|host| host.backend(spec.driver));
    let backend = backend.ok_or("the driver of the instance is not here")?;
    let can = backend.hypervisor.capabilities().await.map_err(|e| e.to_string())?;
    if !can.console {
        return Err(format!("the driver {} has no console", can.driver.name()));
    }
    backend.hypervisor.console(row.key.instance).await.map_err(|fault| fault.to_string())
}

/// Moves bytes both ways until either side is done.
async fn join(mut channel: Channel, mut console: Console) {
    loop {
        tokio::select! {
            typed = channel.receiver.recv() => match typed {
                Some(bytes) => if console.sender.send(bytes).await.is_err() { return },
                None => return,
            },
            written = console.receiver.recv() => match written {
                Some(bytes) => if channel.sender.send(bytes).await.is_err() { return },
                None => return,
            },
        }
    }
}
