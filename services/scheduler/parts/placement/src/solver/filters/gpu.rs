//! The GPUs asked for are free: whole ones entirely, a share on one of them.

use crate::resources::Gpus;
use crate::solver::fleet::Fleet;
use crate::solver::request::Prepared;

pub(super) fn passes(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> bool {
    (fleet.gpus.whole[host] >= prepared.gpus_whole) & (fleet.gpus.most[host] >= prepared.gpu_share)
}

pub(super) fn reason(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> String {
    let count = fleet.gpus.count[host];
    if count == 0 {
        return "has no GPU".to_owned();
    }
    let gpus = if count == 1 { "GPU" } else { "GPUs" };
    if prepared.gpu_share > 0 {
        let most = fleet.gpus.most[host];
        return format!(
            "{most}/{whole} free on the freest of {count} {gpus}, {}/{whole} asked",
            prepared.gpu_share,
            whole = Gpus::WHOLE
        );
    }
    format!("{} of {count} {gpus} entirely free, {} asked", fleet.gpus.whole[host], prepared.gpus_whole)
}
