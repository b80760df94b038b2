//! The units of systemd.

use super::Piece;
use chassis::Service;

/// Of who meets no hypervisor.
const CLOSED: &str = "NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/var/lib/berth
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
CapabilityBoundingSet=
";

/// Of who starts guests.
const WITH_HYPERVISORS: &str = "SupplementaryGroups=libvirt kvm
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/var/lib/berth
ProtectHome=yes
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
";

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let units = services.iter().map(|service| Piece::Whole {
        path: format!("deploy/systemd/berth-{}.service", service.program),
        text: unit(service),
    });
    let programs: Vec<String> = services.iter().map(|s| format!("berth-{}.service", s.program)).collect();
    let conflicts = Piece::Part {
        path: "deploy/systemd/berth-node.service".into(),
        name: "services",
        text: format!("Conflicts={}\n", programs.join(" ")),
    };
    units.chain([conflicts]).collect()
}

fn unit(service: &Service) -> String {
    let program = service.program;
    let (after, rooms) = if service.needs.hypervisors {
        ("libvirtd.service", WITH_HYPERVISORS)
    } else {
        ("berth-nats.service", CLOSED)
    };
    format!(
        "[Unit]
Description=Berth {program}: {about}
After=network-online.target {after}
Wants=network-online.target
PartOf=berth.target

[Service]
Type=exec
ExecStart=/usr/bin/{program} /etc/berth/{program}.toml
User=berth
Group=berth
# passwords and addresses of this machine: BERTH_…__BUS__PASSWORD=…
EnvironmentFile=-/etc/berth/environment
Restart=always
RestartSec=2
# work in hand is ended in order: three stages of ten seconds
TimeoutStopSec=40
StateDirectory=berth
UMask=0027
LimitNOFILE=65536

{rooms}
[Install]
WantedBy=berth.target
",
        about = service.about
    )
}
