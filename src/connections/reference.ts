/** References to secrets that a store holds: `vault:secret/sales#password` in an option such as `password_from`. */

import { isPlausiblePath } from '../plausible-path.ts'
import { LiveSecret, Secret } from '../secret.ts'
import { type Field, FieldMismatch, homeFolder } from './field-types.ts'
import { idProblem } from './record.ts'

/** The kinds of stores that a reference can name. */
export const SCHEMES = [
  'file',
  'env',
  'k8s',
  'encrypted',
  'vault',
  'aws-sm',
  'aws-ssm',
  'azure-kv',
  'gcp-sm',
  'store',
] as const
export type Scheme = (typeof SCHEMES)[number]

/** The scheme of login and password in the record that the connection itself was read from. */
export const RECORD = 'record'

/** The place of one secret in a store. It holds no secret itself. */
export interface Reference {
  readonly scheme: Scheme | typeof RECORD
  /** As the store knows it: a path, a name. */
  readonly path: string
  /** The field of the secret, where it has several. */
  readonly field: string | undefined
}

/** Stands for a value that is not read yet, where options are checked. */
const UNREAD = 'unread'

/** An option that is given by reference. Its value is the one that was read from the store last. */
export class ReferencedSecret extends LiveSecret {
  readonly reference: Reference

  constructor(reference: Reference) {
    super(UNREAD)
    this.reference = reference
  }
}

/** The suffix of an option that takes a reference in place of the secret. */
export const REFERENCE_SUFFIX = '_from'

/** The option that takes a reference to the value of another: `password_from` of `password`. */
export function fromName(option: string): string {
  return option + REFERENCE_SUFFIX
}

const FORM = /^(?<scheme>[a-z0-9-]+):(?<path>[^#]+)(?:#(?<field>[^#]+))?$/

/** Whether a value under a name ending in `_from` is a reference, and not a secret that was put in its place. */
export function isReference(key: string, value: unknown): boolean {
  return key.endsWith(REFERENCE_SUFFIX) && typeof value === 'string' && parse(value) !== undefined
}

/** Whether a store can have a secret of this name, so that it is worth while to ask. */
export function isStorePath(scheme: Scheme, path: string): boolean {
  return !/\p{Cc}/u.test(path) && RULES[scheme](path, undefined) !== undefined
}

const EXAMPLES =
  'vault:secret/sales#password, aws-sm:prod/sales#password, k8s:/etc/secrets/sales#password, file:/run/secrets/sales or env:SALES'

/** The kinds of stores that the references among given options name. */
export function schemesIn(given: Readonly<Record<string, unknown>>): ReadonlySet<Reference['scheme']> {
  const found = new Set<Reference['scheme']>()
  for (const [key, value] of Object.entries(given)) {
    const text = value instanceof Secret ? value.reveal() : value
    const parsed = key.endsWith(REFERENCE_SUFFIX) && typeof text === 'string' ? parse(text) : undefined
    if (parsed !== undefined) found.add(parsed.scheme)
  }
  return found
}

/** Whether a text begins as a reference does. */
export function namesScheme(text: string): boolean {
  return SCHEMES.some((name) => text.startsWith(`${name}:`))
}

/** The place of a whole connection, for which no field need be named; undefined for a text that is none. */
export function recordReference(text: string): Reference | undefined {
  return parse(text, true)
}

/** An option that takes a reference. A text that is none is not repeated: it may be the secret itself. */
export function reference(description: string): Field<ReferencedSecret | undefined> {
  return {
    type: 'reference',
    description,
    default: undefined,
    aliases: [],
    secret: false,
    parse(value) {
      const text = value instanceof Secret ? value.reveal() : value
      const parsed = typeof text === 'string' ? parse(text) : undefined
      if (parsed !== undefined) return new ReferencedSecret(parsed)
      throw new FieldMismatch(`expected a reference such as ${EXAMPLES} (not repeated: it may be a secret)`)
    },
  }
}

function parse(text: string, isRecord = false): Reference | undefined {
  const { scheme, path = '', field } = FORM.exec(text)?.groups ?? {}
  const known = SCHEMES.find((name) => name === scheme)
  if (known === undefined || /\p{Cc}/u.test(text) || text.length > 1024) return undefined
  const read = RULES[known](path, field ?? (isRecord ? 'connection' : undefined))
  return read === undefined ? undefined : { scheme: known, path: read, field }
}

/** For each kind, the path as it is used; undefined for one that cannot be. */
const RULES: Readonly<Record<Scheme, (path: string, field: string | undefined) => string | undefined>> = {
  file: filePath,
  env: (path) => (/^[A-Za-z_]\w*$/.test(path) ? path : undefined),
  // A mounted folder, or the namespace and name for the API. The key of the secret is the name of a file in the folder.
  k8s(path, field) {
    if (field === undefined || !/^(?!\.\.)[-.\w]+$/.test(field)) return undefined
    return isKubernetesName(path) ? path : filePath(path)
  },
  encrypted: (path) => (/^(?!.{256})[\w.-]+(\/[\w.-]+)*$/.test(path) ? path : undefined),
  vault: (path) => (isVaultPath(path) ? path : undefined),
  'aws-sm': (path) => (AWS_SECRET.test(path) ? path : undefined),
  'aws-ssm': (path) => (AWS_PARAMETER.test(path) ? path : undefined),
  'azure-kv': (path) => (KEY_VAULT_SECRET.test(path) ? path : undefined),
  'gcp-sm': (path) => (googleSecret(path) === undefined ? undefined : path),
  store: (path) => (idProblem(path) === undefined ? path : undefined),
}

/** Names and ARNs of AWS (API references, CreateSecret and GetParameter). A version or label of a parameter follows a colon. */
const AWS_SECRET = /^(arn:aws[-a-z]*:secretsmanager:[-a-z0-9]+:\d{12}:secret:)?[\w/+=.@!-]{1,512}$/
const AWS_PARAMETER = /^(arn:aws[-a-z]*:ssm:[-a-z0-9]+:\d{12}:parameter)?[\w./-]{1,1011}(:[\w.-]{1,100})?$/

/**
 * A vault or its URL, a secret and perhaps a version, as Azure names them (Microsoft Learn, "Azure Key Vault keys, secrets
 * and certificates overview"). `secrets/` stands in the identifier of a secret.
 */
export const KEY_VAULT_SECRET =
  /^(?:https:\/\/(?<host>[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?(?::\d{1,5})?)\/(?:secrets\/)?|(?<vault>[a-z](?:[a-z0-9-]{1,22}[a-z0-9]))\/)(?<name>[a-z0-9-]{1,127})(?:\/(?<version>[0-9a-f]{32}))?$/i

const GOOGLE_SHORT =
  /^(?<project>(?:[a-z0-9.-]{1,63}:)?[a-z0-9-]{1,63})\/(?<name>[\w-]{1,255})(?:\/(?<version>\d{1,19}|[A-Za-z][\w-]{0,62}))?$/
const GOOGLE_RESOURCE =
  /^projects\/(?<project>(?:[a-z0-9.-]{1,63}:)?[a-z0-9-]{1,63})\/(?:locations\/(?<location>[a-z0-9-]{1,63})\/)?secrets\/(?<name>[\w-]{1,255})(?:\/versions\/(?<version>\d{1,19}|[A-Za-z][\w-]{0,62}))?$/

/** The parts of a secret of Google: project, name and perhaps a version or its alias, or the name of the resource. */
export function googleSecret(path: string): Readonly<Record<string, string | undefined>> | undefined {
  return (GOOGLE_RESOURCE.exec(path) ?? GOOGLE_SHORT.exec(path))?.groups
}

/** `namespace/name`, as the API has it, and no folder (RFC 1123 labels). */
export function isKubernetesName(path: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/.test(path)
}

function filePath(path: string): string | undefined {
  if (!isPlausiblePath(path)) return undefined
  return path.startsWith('~/') ? `${homeFolder()}${path.slice(1)}` : path
}

/** A mount and a path in it. Vault refuses a path that ends in a period. */
function isVaultPath(path: string): boolean {
  const parts = path.split('/')
  const isWhole = parts.every((part) => /^[^\s?\\%]+$/.test(part) && !/^\.\.?$/.test(part))
  return parts.length >= 2 && isWhole && !path.endsWith('.')
}
