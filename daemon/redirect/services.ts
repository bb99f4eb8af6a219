/**
 * The redirect of a Service and its reversal by JSON patches with preconditions: what it selects changes whole or not at all,
 * and never over somebody else's change. The originals' pods and the workload's template are not touched.
 *
 * While redirected the Service selects the session's agent and publishes not-ready addresses, because the agent pod is
 * never Ready (objects.ts, `readinessGate`): so it is an endpoint here and nowhere else, and one patch takes it out.
 */
import { isDeepStrictEqual } from 'node:util';
import type { V1ManagedFieldsEntry, V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster, Patch } from '../cluster/cluster.ts';
import { services } from '../cluster/resources.ts';
import { restoredManagedFields } from './managed-fields.ts';
import { originalAnnotation, sessionLabel, sessionSelector, undoAnnotation } from './objects.ts';
import { readOriginal, type ServiceOriginal } from './record.ts';
import { alreadyRedirectedService } from './refusals.ts';

type Operations = Extract<Patch, { type: 'json' }>['body'];
const pathTo = (annotation: string): string =>
  `/metadata/annotations/${annotation.replace('~', '~0').replace('/', '~1')}`;
const annotationPath = pathTo(originalAnnotation);

export function redirectPatch(service: V1Service, session: string): Operations {
  const { metadata, spec } = service;
  const original: ServiceOriginal = {
    session,
    selector: spec?.selector ?? {},
    ...(spec?.publishNotReadyAddresses === undefined
      ? {}
      : { publishNotReadyAddresses: spec.publishNotReadyAddresses }),
    ...(metadata?.managedFields === undefined ? {} : { managedFields: metadata.managedFields }),
  };
  return [
    // Selector, annotations and field owners are those that the original remembers.
    { op: 'test', path: '/metadata/resourceVersion', value: metadata?.resourceVersion },
    ...(metadata?.annotations === undefined ? [{ op: 'add' as const, path: '/metadata/annotations', value: {} }] : []),
    { op: 'add', path: annotationPath, value: JSON.stringify(original) },
    { op: 'add', path: pathTo(undoAnnotation), value: JSON.stringify(undo(original)) },
    { op: 'add', path: '/spec/publishNotReadyAddresses', value: true },
    { op: 'replace', path: '/spec/selector', value: sessionSelector(session) },
  ];
}

/** What `kubectl patch --type=merge` needs: label values have no characters that a shell would take for its own. */
const undo = ({ selector, publishNotReadyAddresses }: ServiceOriginal): object => ({
  metadata: { annotations: { [originalAnnotation]: null, [undoAnnotation]: null } },
  spec: {
    selector: { [sessionLabel]: null, ...selector },
    publishNotReadyAddresses: publishNotReadyAddresses ?? null,
  },
});

/** Redirects one Service. Reads it anew once when it changed between look and patch. */
export async function redirectService(
  cluster: Cluster,
  service: V1Service,
  session: string,
  options: CallOptions,
): Promise<void> {
  const { name = '', namespace = '' } = service.metadata ?? {};
  for (let current = service, attempt = 0; ; attempt++) {
    try {
      await cluster.patch(services, name, namespace, { type: 'json', body: redirectPatch(current, session) }, options);
      return;
    } catch (error) {
      current = await cluster.get(services, name, namespace, options);
      const other = readOriginal(current);
      if (other !== undefined && other.session !== session) throw alreadyRedirectedService(current, other.session);
      // Our own patch had arrived, its answer had not.
      if (other !== undefined && current.spec?.selector?.[sessionLabel] === session) return;
      const changed = !isDeepStrictEqual(current.spec?.selector, service.spec?.selector);
      if (changed) {
        throw new BowlineError(
          'CHANGED_MEANWHILE',
          `The selector of Service ${name} in namespace ${namespace} changed while it was being redirected.`,
          {
            hint: 'Run the command again.',
            cause: error,
          },
        );
      }
      if (attempt >= 3) throw error;
    }
  }
}

/**
 * Puts a Service back as it was before `session`, in two patches: what it selects, then who owned which field, since no patch
 * can do both. The record goes with the second, so that whoever is killed between them can be followed by somebody who ends it.
 * Where somebody set another selector meanwhile, theirs stays and only what is ours goes. Answers whether there was anything
 * of ours.
 */
export async function restoreService(
  cluster: Cluster,
  name: string,
  namespace: string,
  session: string,
  options: CallOptions,
): Promise<boolean> {
  for (let attempt = 0; ; attempt++) {
    let current = await cluster.find(services, name, namespace, options);
    const original = current === undefined ? undefined : readOriginal(current);
    if (current === undefined || original?.session !== session) return attempt > 0;
    const patch = (body: Operations): Promise<V1Service> =>
      cluster.patch(services, name, namespace, { type: 'json', body }, options);
    try {
      const back = restorePatch(current, original);
      if (back.length > 0) current = await patch(back);
      // The owners are a courtesy, for which a release must not fail where somebody writes all the time.
      await patch(forgetPatch(current, attempt < 3 ? original : { ...original, managedFields: undefined }));
      return true;
    } catch (error) {
      if (attempt >= 4) throw error;
    }
  }
}

/** What a Service selects; nothing where an earlier run has put it back. */
export function restorePatch(current: V1Service, original: ServiceOriginal): Operations {
  const { [sessionLabel]: ours, ...theirs } = current.spec?.selector ?? {};
  // An `apply` of the workload's own manifest meanwhile adds its selector to ours: then theirs alone is what they want.
  const selector = Object.keys(theirs).length === 0 ? original.selector : theirs;
  const operations: Operations = [
    ...(current.spec?.publishNotReadyAddresses === true && original.publishNotReadyAddresses !== true
      ? [{ op: 'remove' as const, path: '/spec/publishNotReadyAddresses' }]
      : []),
    ...(ours === original.session
      ? [
          { op: 'test' as const, path: '/spec/selector', value: current.spec?.selector },
          { op: 'replace' as const, path: '/spec/selector', value: selector },
        ]
      : []),
  ];
  const recorded = current.metadata?.annotations?.[originalAnnotation];
  return operations.length === 0 ? [] : [{ op: 'test', path: annotationPath, value: recorded }, ...operations];
}

/** The record, and the owners of fields that it remembers. */
export function forgetPatch(
  { metadata }: V1Service,
  { managedFields }: { managedFields?: V1ManagedFieldsEntry[] | undefined },
): Operations {
  return [
    { op: 'test', path: '/metadata/resourceVersion', value: metadata?.resourceVersion },
    { op: 'remove', path: annotationPath },
    ...(metadata?.annotations?.[undoAnnotation] === undefined
      ? []
      : [{ op: 'remove' as const, path: pathTo(undoAnnotation) }]),
    ...(managedFields === undefined || metadata?.managedFields === undefined
      ? []
      : [
          {
            op: 'replace' as const,
            path: '/metadata/managedFields',
            value: restoredManagedFields(managedFields, metadata.managedFields),
          },
        ]),
  ];
}
