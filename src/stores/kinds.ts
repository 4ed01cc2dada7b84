/** The table of stores of connections: one line for each kind. */

import type { Fields } from '../connections/fields.ts'
import { didYouMean, nearest } from '../did-you-mean.ts'
import { ConfigError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { parameterStoreKwargs, secretsManagerKwargs } from './airflow/aws.ts'
import type { keyVaultKwargs } from './airflow/azure.ts'
import type { googleKwargs } from './airflow/google.ts'
import type { kubernetesKwargs } from './airflow/kubernetes.ts'
import type { environmentKwargs, fileKwargs } from './airflow/local.ts'
import type { vaultKwargs } from './airflow/vault.ts'
import type { encryptedKwargs } from './encrypted/kind.ts'
import type { StoreKindContext } from './kind.ts'
import type { Store } from './store.ts'

type Open = (given: Readonly<Record<string, unknown>>, context: StoreKindContext) => Store | Promise<Store>

interface KindOfStore {
  /** The class of Airflow that it stands for, where there is one. */
  readonly airflow?: string
  readonly load: () => Promise<Open>
}

const KINDS: Readonly<Record<keyof KwargsByKind, KindOfStore>> = {
  environment: {
    airflow: 'airflow.secrets.environment_variables.EnvironmentVariablesBackend',
    load: async () => (await import('./airflow/local.ts')).openEnvironmentStore,
  },
  file: {
    airflow: 'airflow.secrets.local_filesystem.LocalFilesystemBackend',
    load: async () => (await import('./airflow/local.ts')).openFileStore,
  },
  encrypted: {
    load: async () => (await import('./encrypted/kind.ts')).openEncryptedStore,
  },
  vault: {
    airflow: 'airflow.providers.hashicorp.secrets.vault.VaultBackend',
    load: async () => (await import('./airflow/vault.ts')).openVaultStore,
  },
  'aws-sm': {
    airflow: 'airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend',
    load: async () => (await import('./airflow/aws.ts')).openSecretsManagerStore,
  },
  'aws-ssm': {
    airflow: 'airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend',
    load: async () => (await import('./airflow/aws.ts')).openParameterStore,
  },
  'azure-kv': {
    airflow: 'airflow.providers.microsoft.azure.secrets.key_vault.AzureKeyVaultBackend',
    load: async () => (await import('./airflow/azure.ts')).openKeyVaultStore,
  },
  k8s: {
    airflow: 'airflow.providers.cncf.kubernetes.secrets.kubernetes_secrets_backend.KubernetesSecretsBackend',
    load: async () => (await import('./airflow/kubernetes.ts')).openKubernetesStore,
  },
  'gcp-sm': {
    airflow: 'airflow.providers.google.cloud.secrets.secret_manager.CloudSecretManagerBackend',
    load: async () => (await import('./airflow/google.ts')).openGoogleStore,
  },
}

interface KwargsByKind {
  encrypted: typeof encryptedKwargs
  environment: typeof environmentKwargs
  file: typeof fileKwargs
  vault: typeof vaultKwargs
  'aws-sm': typeof secretsManagerKwargs
  'aws-ssm': typeof parameterStoreKwargs
  'azure-kv': typeof keyVaultKwargs
  'gcp-sm': typeof googleKwargs
  k8s: typeof kubernetesKwargs
}

/** A value as people write it: a secret as a text, and `null` for what is turned off. */
type Written<Value> =
  | (Value extends Secret ? Secret | string : Value extends readonly string[] ? Value | string : Value)
  | null

type WrittenKwargs<F extends Fields> = {
  readonly [Name in keyof F]?: F[Name] extends { readonly default: infer Value } ? Written<Value> : never
}

/**
 * A store of connections by its kind, or by the class of Airflow, with the keyword arguments that the class takes.
 *
 * @example
 * { type: 'vault', url: 'https://vault.example.com:8200', auth_type: 'approle', role_id, secret_id, mount_point: 'airflow' }
 */
export type StoreSettings =
  | { [Kind in keyof KwargsByKind]: { readonly type: Kind } & WrittenKwargs<KwargsByKind[Kind]> }[keyof KwargsByKind]
  | { readonly type: `airflow.${string}`; readonly [argument: string]: unknown }

/** @throws ConfigError for a kind that is unknown, and for arguments that are wrong */
export async function openStore(settings: unknown, context: StoreKindContext): Promise<Store> {
  const refused = (path: string, message: string) => new ConfigError([{ path, message }], { subject: context.subject })
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) {
    throw refused('', `expected an object with a type: ${Object.keys(KINDS).join(', ')}`)
  }
  const { type, ...kwargs } = settings as Readonly<Record<string, unknown>>
  const found = Object.entries(KINDS).find(
    ([name, { airflow }]) => type === name || (airflow !== undefined && type === airflow),
  )
  if (found !== undefined) return (await found[1].load())(kwargs, context)
  throw refused('type', unknownKind(type))
}

function unknownKind(type: unknown): string {
  if (typeof type !== 'string') return `missing; expected one of ${Object.keys(KINDS).join(', ')}`
  const classes = Object.values(KINDS).flatMap(({ airflow }) => airflow ?? [])
  const near = nearest(type, [...Object.keys(KINDS), ...classes])
  const hint =
    near === undefined ? `expected one of ${[...Object.keys(KINDS), ...classes].join(', ')}` : didYouMean([near])
  return `no store of this kind is known; ${hint}`
}
