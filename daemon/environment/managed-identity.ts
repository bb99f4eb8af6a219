/**
 * The feature ManagedIdentity of the environment file: the metadata service that gives the pod tokens of its Azure identity.
 * Programs find it at a fixed address of the node, so here they are told another one. Bridge to Kubernetes did it for the
 * libraries of its time (MSI_ENDPOINT), with a protocol of its own; the libraries of today ask this variable.
 */
import type { NamedService } from '../../api/schema.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';

/** https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service: the same on every node. */
export const metadataService = { host: '169.254.169.254', port: 80 };

/** The base address of the metadata service, for the Azure Identity and MSAL libraries of all languages. */
const variable = 'AZURE_POD_IDENTITY_AUTHORITY_HOST';

export const wantsManagedIdentity = ({ features }: EnvironmentFile): boolean =>
  features.some(({ name }) => name === 'ManagedIdentity');

/** Where it answers here; none where it does not. */
export function managedIdentityVariables(services: readonly NamedService[]): Record<string, string> {
  const service = services.find((each) => each.external === true && each.service === metadataService.host);
  const local = service?.ports.find(({ port }) => port === metadataService.port)?.local;
  if (service?.address === undefined || local === undefined) return {};
  return { [variable]: `http://${service.address}${local === 80 ? '' : `:${local}`}` };
}
