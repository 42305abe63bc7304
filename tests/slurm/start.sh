#!/usr/bin/env bash
# A real Slurm on loopback, for `pytest -m slurm`: two nodes on this machine, each with a hostname of its own.
#
#   tests/slurm/start.sh DIR        starts what does not run of it; then export SLURM_CONF=DIR/slurm.conf
#   tests/slurm/start.sh DIR stop   ends it
#
# As root, with the packages slurm-wlm and munge installed. No accounting (slurmdbd). Partitions: `main`, and `urgent`,
# whose jobs preempt those of `main`.
set -euo pipefail
mkdir -p "$1"
dir=$(cd "$1" && pwd)
daemons="slurmd-n1 slurmd-n2 slurmctld munged"

runs() {
    [ -s "$dir/$1.pid" ] && kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null
}

if [ "${2-}" = stop ]; then
    for name in $daemons; do
        if runs "$name"; then kill "$(cat "$dir/$name.pid")"; fi
    done
    exit
fi

port=${WEIGHTNET_SLURM_PORT:-26817}
mkdir -p "$dir/state" "$dir/spool-n1" "$dir/spool-n2"
[ -s "$dir/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom > "$dir/munge.key")
# cred_expire: a job that is requeued waits so long (default: 120 s)
cat > "$dir/slurm.conf" <<CONF
ClusterName=weightnet
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=3,sched_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
SlurmdTimeout=15
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=n1 NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4 RealMemory=4000
NodeName=n2 NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4 RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10
CONF
export SLURM_CONF=$dir/slurm.conf

runs munged || munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
runs slurmctld || slurmctld -f "$SLURM_CONF"
for node in n1 n2; do
    runs slurmd-$node || unshare --uts bash -c "hostname $node && exec slurmd -N $node -f '$SLURM_CONF'"
done
for _ in $(seq 120); do
    up=$(sinfo --noheader --Node --partition=main --format=%t 2>/dev/null | grep -cE '^(idle|mix|alloc)$' || true)
    [ "$up" != 2 ] || exit 0
    sleep 0.5
done
sinfo
echo "the nodes do not come up; see $dir/*.log" >&2
exit 1
