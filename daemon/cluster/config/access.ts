/** What is needed to reach one cluster as one user, whatever it was read from. Certificates are PEM, paths are absolute. */

export interface ClusterAccess {
  readonly context: string;
  readonly namespace: string;
  readonly server: ServerConfig;
  readonly user: UserConfig;
}

export interface ServerConfig {
  /** May have a path, as behind Rancher or another gateway. */
  readonly url: URL;
  /** The only authorities that are trusted for this server; the system's when absent. */
  readonly ca?: string;
  readonly tlsServerName?: string;
  readonly insecure: boolean;
  /** `proxy-url` of the cluster; wins over the environment. */
  readonly proxy?: string;
  /** What exec credential plugins get as `spec.cluster.config`. */
  readonly pluginConfig?: unknown;
}

export interface UserConfig {
  readonly name: string;
  readonly token?: string;
  /** Read again from time to time, because others renew it. */
  readonly tokenFile?: string;
  readonly username?: string;
  readonly password?: string;
  readonly certificate?: ClientCertificate;
  readonly authProvider?: { readonly name: string; readonly config: Readonly<Record<string, string>> };
  readonly exec?: PluginConfig;
  readonly impersonate?: Impersonation;
}

export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface PluginConfig {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint?: string;
  readonly provideClusterInfo: boolean;
  readonly interactiveMode: string;
}

export interface Impersonation {
  readonly user?: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}
