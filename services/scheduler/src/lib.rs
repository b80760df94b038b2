//! The scheduler: owns instances, their whole life, and the hosts they are placed on.
#![forbid(unsafe_code)]

pub mod domain;
pub mod fleet;
pub mod handlers;
pub mod heartbeats;
pub mod kinds;
pub mod metrics;
pub mod quota;
pub mod rebuild;
pub mod reconcilers;
mod service;
mod settings;
pub mod store;
pub mod translate;

pub use scheduler_placement as placement;
pub use service::SERVICE;
pub use settings::Settings;

use ::store::{MigrationFile, Store};
use anyhow::Result;
use bus::{Answers, Desk, Subscriptions};
use chassis::{Chassis, Loop, Stage};
use handlers::*;
use kinds::SshKeys;
use objects::{Forgetting, Owned};
use opentelemetry::metrics::Meter;
use reconcilers::orders::Orders;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The scheduler's tables, after the bus' own.
pub const MIGRATIONS: &[MigrationFile] = &[
    objects::TABLES_OF_OWNERS[0],
    objects::TABLES_OF_OWNERS[1],
    objects::TABLES_OF_OWNERS[2],
    objects::TABLES_OF_OWNERS[3],
    MigrationFile { version: 1000, name: "scheduler", sql: include_str!("../migrations/1000_scheduler.sql") },
    MigrationFile { version: 1001, name: "gpus", sql: include_str!("../migrations/1001_gpus.sql") },
    MigrationFile {
        version: 1002,
        name: "fleet_changes",
        sql: include_str!("../migrations/1002_fleet_changes.sql"),
    },
    MigrationFile { version: 1200, name: "quotas", sql: include_str!("../migrations/1200_quotas.sql") },
    MigrationFile { version: 1300, name: "orders", sql: include_str!("../migrations/1300_orders.sql") },
];

/// What handlers and reconcilers share.
pub fn context(settings: &Settings, store: Store, meter: &Meter) -> Context {
    Context {
        limits: settings.limits(),
        overcommit: settings.overcommit(),
        dialect: store.dialect(),
        store: store.clone(),
        fleet: fleet::FleetMemory::new(store),
        placement: Arc::new(Notify::new()),
        heartbeats: heartbeats::Heartbeats::default(),
        metrics: metrics::Metrics::new(meter),
    }
}

/// What the scheduler listens to.
pub fn subscriptions(context: &Context) -> Subscriptions {
    let own = || context.clone();
    let subscriptions = Subscriptions::new(SERVICE.name)
        .on(OnCreateInstance(own()))
        .on(OnStartInstance(own()))
        .on(OnStopInstance(own()))
        .on(OnRebootInstance(own()))
        .on(OnPauseInstance(own()))
        .on(OnResumeInstance(own()))
        .on(OnExpectGuestAgent(own()))
        .on(OnDeleteInstance(own()))
        .on(OnRestoreInstance(own()))
        .on(OnCordonHost(own()))
        .on(OnUncordonHost(own()))
        .on(OnSetHostOvercommit(own()))
        .on(OnVmObserved(own()))
        .on(OnHostReported(own()))
        .on_object(OnImage)
        .on(OnTenantQuotaSet(own()));
    Owned::<SshKeys>::new(&context.store).subscribe(subscriptions)
}

/// What can be asked of the scheduler.
pub fn answers(desk: &Desk, context: &Context) -> Answers {
    Answers::new(SERVICE.name).on(OnPreviewPlacement { desk: desk.clone(), context: context.clone() })
}

/// Between two looks at what is gone for long.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// How long a pass may take that goes through many rows, a transaction for each or for a few.
const MANY_ROWS: Duration = Duration::from_secs(120);

/// Starts the scheduler in this process.
pub async fn wire(settings: &Settings, chassis: &Chassis) -> Result<()> {
    let (desk, context) = serve(settings, chassis).await?;
    // each pass owns what it needs: a pass that borrowed from its loop could not move between threads
    let own = (desk.clone(), context.clone());
    let (wake, period) = (context.placement.clone(), settings.placement_period());
    let plan = Loop::every(period, "scheduler.placement").woken_by(wake).patient_for(MANY_ROWS);
    chassis.reconcile(plan, move || {
        let (desk, context) = own.clone();
        async move { reconcilers::placement::pass(&desk, &context).await }
    });
    let orders = Arc::new(Orders::new(desk.clone(), context.metrics.clone(), settings.order_patience()));
    let plan = Loop::every(settings.order_patience() / 6, "scheduler.orders").patient_for(MANY_ROWS);
    chassis.reconcile(plan, move || orders.clone().pass());
    let forgetting = Forgetting::new(desk.clone(), settings.gone_keep(), &chassis.meter);
    let plan = Loop::every(FORGET_EVERY, "scheduler.forgetting").patient_for(MANY_ROWS);
    chassis.reconcile(plan, move || {
        let forgetting = forgetting.clone();
        async move { forgetting.pass::<SshKeys>().await }
    });
    let plan = Loop::every(settings.deadline_period(), "scheduler.deadlines").patient_for(MANY_ROWS);
    chassis.reconcile(plan, move || {
        let (desk, context) = (desk.clone(), context.clone());
        async move { reconcilers::deadlines::pass(&desk, &context).await }
    });
    Ok(())
}

/// Everything but the loops that follow the clock, placement, orders and deadlines: a simulation runs their passes itself,
/// when its virtual time says so.
pub async fn serve(settings: &Settings, chassis: &Chassis) -> Result<(Desk, Context)> {
    settings.check()?;
    let desk = chassis.desk_of(&SERVICE, &settings.database_url, |_| Box::new(rebuild::Tables)).await?;
    let context = context(settings, desk.store().clone(), &chassis.meter);
    chassis.serve(&desk, subscriptions(&context));
    chassis.answer(&desk, answers(&desk, &context));
    let wake = Arc::new(Notify::new());
    let (own, bus, beats) = (context.clone(), chassis.bus.clone(), wake.clone());
    chassis.tasks.spawn(Stage::Work, "heartbeats", |stop| reconcilers::hosts::listen(bus, own, beats, stop));
    let (own, limit) = ((desk.clone(), context.clone()), settings.host_silence());
    let plan = Loop::every(limit / 6, "scheduler.hosts").woken_by(wake).patient_for(MANY_ROWS);
    chassis.reconcile(plan, move || {
        let (desk, context) = own.clone();
        async move { reconcilers::hosts::pass(&desk, &context, limit).await }
    });
    Ok((desk, context))
}
