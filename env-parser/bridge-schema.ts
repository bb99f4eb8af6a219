/**
 * The JSON schema of KubernetesLocalProcessConfig.yaml, so that editors complete and check it. It says less than the
 * parser, which also reads the tokens; a test holds the two together.
 */
import { longest } from './bridge-file.ts';
import { featureNames } from './environment-file.ts';

const name = (description: string): object => ({ type: 'string', minLength: 1, maxLength: longest, description });

export const bridgeSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'KubernetesLocalProcessConfig.yaml',
  description: 'Variables, volumes and services of a pod for a program on this machine.',
  type: 'object',
  required: ['version'],
  additionalProperties: false,
  properties: {
    version: { description: 'Version of the format.', enum: [0.1, '0.1'] },
    env: {
      description: 'Variables that the program gets, before all others.',
      type: ['array', 'null'],
      items: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: {
          name: name('Name of the variable.'),
          value: {
            description:
              'Text with tokens: $(volumeMounts:NAME) is the local folder of a volume, $(services:NAME[.NAMESPACE][:PORTS]) the local address of a Service, $(externalEndpoints:HOST:PORTS) a host reached through the cluster. $$ is a dollar sign. A ? before the closing parenthesis: may be missing.',
            type: ['string', 'number', 'boolean', 'null'],
            examples: [
              '$(volumeMounts:settings)/app.json',
              '$(services:catalog)',
              '$(externalEndpoints:db.example.com:5432)',
            ],
          },
        },
      },
    },
    volumeMounts: {
      description: 'Where volumes named by env go on this machine; without an entry: a temporary folder.',
      type: ['array', 'null'],
      items: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: {
          name: name('Name of the volume as in the token of env; * is any text.'),
          localPath: { description: 'Local folder.', type: ['string', 'null'], maxLength: longest },
        },
      },
    },
    enableFeatures: {
      description: 'Features of the connection.',
      type: ['array', 'null'],
      items: { enum: [...featureNames] },
    },
  },
} as const;
