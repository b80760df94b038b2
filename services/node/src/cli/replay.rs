//! `berth replay`.

use crate::compare::TableVerdict;
use crate::config;
use crate::services::named as service_named;
use crate::settings::NodeSettings;
use berth::cli::GlobalArgs;
use berth::cli::local::ReplayCommand;
use chassis::Service;
use checker::Judgement;
use client::{Exit, Failure};
use terminal::config::Environment;
use terminal::output::{Table, local_time, note};

pub(super) async fn run(command: ReplayCommand, global: &GlobalArgs) -> Result<(), Failure> {
    let loaded = config::load(global.data_dir.as_ref(), &[], &Environment::of_process())?;
    if !loaded.settings.data_dir.is_dir() {
        let text = format!("there is no node in {}", loaded.settings.data_dir.display());
        return Err(
            Failure::new(Exit::NotFound, text).hint("name its folder with --data-dir or BERTH_DATA_DIR")
        );
    }
    match command {
        ReplayCommand::Verify => verify(loaded.settings, global).await,
        ReplayCommand::Check => check(loaded.settings, global).await,
        ReplayCommand::At { time, object } => at(loaded.settings, time, object.as_deref(), global).await,
        ReplayCommand::Rebuild { service } => {
            let service = service_named(&service)
                .map_err(|known| Failure::usage(format!("{service:?} is no service")).hint(known))?;
            rebuild(loaded.settings, service, global).await
        }
    }
}

async fn check(settings: NodeSettings, global: &GlobalArgs) -> Result<(), Failure> {
    let judgement = crate::replay_check(settings).await?;
    let value =
        serde_json::to_value(&judgement).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global.output.unwrap_or_default().print_value(&value, || render_judgement(&judgement))?;
    match judgement.violations.len() as u64 + judgement.surplus {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Failed, format!("{count} invariants are violated"))),
    }
}

fn render_judgement(judgement: &Judgement) -> String {
    let mut table = Table::new(["event", "violation"], "no violations");
    for found in &judgement.violations {
        table.row([found.sequence.to_string(), found.sentence.clone()]);
    }
    let asked = if judgement.hypervisors_asked {
        "hypervisors were asked too"
    } else {
        "simulated hypervisors cannot be asked from outside"
    };
    format!("{}{} events judged; {asked}\n", table.render(), judgement.events)
}

async fn at(
    settings: NodeSettings,
    time_us: i64,
    object: Option<&str>,
    global: &GlobalArgs,
) -> Result<(), Failure> {
    let found = crate::replay_at(settings, time_us, object).await?;
    for line in &found.notes {
        note(line);
    }
    if let Some(object) = object
        && found.objects.is_empty()
    {
        let text = format!("nothing was called {object:?} at {}", local_time(time_us));
        return Err(Failure::new(Exit::NotFound, text));
    }
    let value =
        serde_json::to_value(&found).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global.output.unwrap_or_default().print_value(&value, || {
        let mut table =
            Table::new(["kind", "name", "id", "tenant", "state", "revision"], "there was nothing");
        for it in &found.objects {
            table.row([
                it.kind.clone(),
                it.name.clone(),
                it.id.clone(),
                it.tenant.clone(),
                it.state.clone(),
                it.revision.to_string(),
            ]);
        }
        let (archived, live) = (found.archived_events, found.stream_events);
        format!(
            "{}at {}: {archived} archived events, {live} of the stream\n",
            table.render(),
            local_time(time_us)
        )
    })
}

async fn verify(settings: NodeSettings, global: &GlobalArgs) -> Result<(), Failure> {
    let verdicts = crate::replay_verify(settings).await?;
    let value =
        serde_json::to_value(&verdicts).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global
        .output
        .unwrap_or_default()
        .print_value(&serde_json::json!({"tables": value}), || render(&verdicts))?;
    let differing = verdicts.iter().filter(|v| !v.differences.is_empty()).count();
    match differing {
        0 => Ok(()),
        count => Err(Failure::new(
            Exit::Failed,
            format!("{count} of {} tables differ from the event stream", verdicts.len()),
        )),
    }
}

async fn rebuild(
    settings: NodeSettings,
    service: &'static Service,
    global: &GlobalArgs,
) -> Result<(), Failure> {
    let _not_running = super::up::Running::claim(&settings.data_dir)?;
    let restored = crate::replay_rebuild(settings, service).await?;
    let value =
        serde_json::to_value(&restored).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global.output.unwrap_or_default().print_value(&value, || {
        let rebuilt = &restored.rebuilt;
        let mut text = format!(
            "{}: made again from {} events, {} of its own\n",
            service.name, rebuilt.events, rebuilt.own_events
        );
        if let Some(kept) = &restored.kept {
            text += &format!("the old database is {}\n", kept.display());
        }
        for line in &rebuilt.unreadable {
            text += &format!("not taken in: {line}\n");
        }
        text
    })?;
    match restored.rebuilt.unreadable.len() {
        0 => Ok(()),
        count => {
            Err(Failure::new(Exit::Failed, format!("{count} events could not be taken into the tables")))
        }
    }
}

fn render(verdicts: &[TableVerdict]) -> String {
    let mut table = Table::new(["service", "table", "rows", "verdict"], "no tables");
    let mut details = String::new();
    for verdict in verdicts {
        let words = match verdict.differences.len() {
            0 => "same".to_owned(),
            count => format!("{count} rows differ"),
        };
        table.row([verdict.service.clone(), verdict.table.clone(), verdict.rows.to_string(), words]);
        for difference in &verdict.differences {
            details += &format!("{}.{}: {difference}\n", verdict.service, verdict.table);
        }
    }
    format!("{}{details}", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_differs_is_shown() {
        let verdict = |table: &str, differences: Vec<String>| TableVerdict {
            service: "scheduler".into(),
            table: table.into(),
            rows: 2,
            differences,
        };
        let text =
            render(&[verdict("hosts", vec![]), verdict("instances", vec!["i-1: phase 3, rebuilt 4".into()])]);
        assert!(
            text.contains("1 rows differ")
                && text.ends_with("scheduler.instances: i-1: phase 3, rebuilt 4\n"),
            "{text}"
        );
    }
}
