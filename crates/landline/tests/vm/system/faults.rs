//! The daemon crashes, and an administrator makes mistakes.

use super::host::Host;
use crate::world::Result;

pub(crate) fn crashes(host: &mut Host) -> Result {
    host.sh(
        "pid() { systemctl show -P MainPID landline.service; }
        # Another process, and ready.
        other() { [ \"$(pid)\" != \"$1\" ] && [ \"$(pid)\" != 0 ] && systemctl is-active --quiet landline.service; }
        for crash in 1 2 3 4 5 6 7 8 9 10; do
            before=$(pid)
            kill -KILL \"$before\"
            # Docker's requests wait for the daemon.
            [ $crash != 10 ] || docker restart open >/dev/null
            eventually other \"$before\"
        done
        systemctl is-active landline.socket landline.service docker.service
        [ \"$(systemctl show -P NRestarts landline.service)\" -ge 10 ]
        # However often it crashes.
        [ \"$(systemctl show -P StartLimitIntervalUSec landline.service)\" = 0 ]
        fine",
    )?;
    host.all_is_reached()
}

/// A daemon that no longer does anything is ended and started again.
pub(crate) fn hangs(host: &mut Host) -> Result {
    host.sh("set_limit() {
            mkdir -p /run/systemd/system/landline.service.d
            printf \"[Service]\\nWatchdogSec=$1\\n\" >/run/systemd/system/landline.service.d/test.conf
            systemctl daemon-reload
            systemctl restart landline.service
        }
        set_limit 20s
        before=$(systemctl show -P MainPID landline.service)
        kill -STOP \"$before\"
        other() { [ \"$(systemctl show -P MainPID landline.service)\" != \"$before\" ] && systemctl is-active --quiet landline.service; }
        eventually other
        rm -r /run/systemd/system/landline.service.d
        systemctl daemon-reload
        systemctl restart landline.service")?;
    host.all_is_reached()
}

pub(crate) fn broken_configuration(host: &mut Host) -> Result {
    host.sh("file=/etc/landline/landline.toml
        cp $file /root/landline.toml
        echo '[defaults' >$file
        before=$(systemctl show -P MainPID landline.service)
        systemctl reload landline.service 2>/dev/null && { echo 'the reload succeeds'; exit 1; }
        [ \"$(systemctl show -P MainPID landline.service)\" = \"$before\" ]
        systemctl restart landline.service 2>/dev/null && { echo 'the restart succeeds'; exit 1; }
        eventually systemctl is-failed --quiet landline.service
        # Nobody tries again what cannot succeed.
        sleep 4
        systemctl show -p ExecMainStatus -p NRestarts -p SubState landline.service
        [ \"$(systemctl show -P ExecMainStatus landline.service)\" = 78 ]
        [ \"$(systemctl show -P NRestarts landline.service)\" = 0 ]
        # The containers go on.
        while read -r name address; do
            case $name in
                open | fixed | direct) answers ${address%/*} peer ;;
                vde2) inside vde1 ping -q -c1 -W10 ${address%/*} >/dev/null ;;
            esac
        done </root/addresses
        hello 192.0.2.117
        cp /root/landline.toml $file
        # As docs/service.md says.
        systemctl start landline.service")?;
    host.all_is_reached()
}
