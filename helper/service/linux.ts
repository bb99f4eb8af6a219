/** The helper as a systemd unit, one per user. It keeps root, and gives up everything of root that it does not need. */
import { helperArguments, type DefineService } from './definition.ts';

export const defineService: DefineService = (options) => {
  const name = `bowline-helper-${options.uid}.service`;
  return {
    name,
    path: `/etc/systemd/system/${name}`,
    content: `[Unit]
Description=Bowline helper of user ${options.uid}: hosts block and low ports on 127.66.0.0/16
After=local-fs.target

[Service]
ExecStart=${[options.node, ...helperArguments(options)].join(' ')}
Restart=always
RestartSec=1
RuntimeDirectory=bowline
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
StateDirectory=bowline
StateDirectoryMode=0700
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_PTRACE
ProtectSystem=strict
ReadWritePaths=/etc /run
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectKernelLogs=yes
RestrictSUIDSGID=yes
MemoryMax=512M
TasksMax=128
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`,
    start: [
      ['systemctl', 'daemon-reload'],
      ['systemctl', 'enable', name],
      ['systemctl', 'restart', name],
    ],
    stop: [['systemctl', 'disable', '--now', name]],
    status: ['systemctl', 'is-active', name],
  };
};
