/** What Kubernetes allows as names of volumes, Services and namespaces, and hosts outside; each says what is wrong. */

const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;

/** RFC 1123 label, as volumes, Services and namespaces are named. */
function isLabel(text: string): boolean {
  return text.length <= 63 && label.test(text);
}

/** A volume's name, or a pattern of one. Upper case is taken, because the predecessor did not tell it apart. */
export function wrongVolumeName(name: string): string | undefined {
  if (name === '') return 'The name of the volume is missing';
  if (name.includes('.')) return 'The name of a volume has no dots';
  if (!/^[-A-Za-z0-9*]+$/.test(name))
    return 'The name of a volume has only letters, digits and -, and * for any of them';
  return name.length > 63 ? 'The name of a volume has at most 63 characters' : undefined;
}

export function wrongServiceName(name: string, what: 'Service' | 'namespace'): string | undefined {
  if (name === '') return `The name of the ${what} is missing`;
  return isLabel(name)
    ? undefined
    : `The name of a ${what} has at most 63 small letters, digits and -, none of them - at the ends`;
}

/** As DNS has them, where an underscore is common (`_dmarc.example.com`, machines of Windows). RFC 2181, section 11. */
const hostLabel = /^[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?$/i;

/** A host name without a final dot, or an IPv4 address. */
export function wrongHost(host: string): string | undefined {
  if (host === '') return 'The host is missing';
  const fits = host.length <= 253 && host.split('.').every((each) => hostLabel.test(each));
  return fits ? undefined : 'A host is a name such as db.example.com or an IPv4 address';
}

/** Below a volume: relative, without `..`, no empty or NUL parts. */
export function wrongSubPath(path: string): string | undefined {
  const wrong = path.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (wrong || path.includes('\0')) return 'A path below a volume has no empty parts, no . and no ..';
  return undefined;
}

/** `80` or `80,443` or `80 443`; undefined where one is no port. */
export function readPorts(text: string): number[] | undefined {
  const parts = text.split(/[ ,]/).filter((part) => part !== '');
  const ports = parts.map((part) => (/^\d{1,5}$/.test(part) ? Number(part) : 0));
  return ports.length === 0 || ports.some((port) => port < 1 || port > 65_535) ? undefined : ports;
}
