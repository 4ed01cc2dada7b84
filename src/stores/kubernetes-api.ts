/** Secrets by the API of Kubernetes, with the service account of the pod (Kubernetes documentation, "Accessing the API from a Pod"). */

import { createHash } from 'node:crypto'
import type { RequestOptions } from 'node:http'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { printable } from '../printable.ts'
import { retryAfterMillis } from '../retry-after.ts'
import { redact, type Secret } from '../secret.ts'
import { readSecretText, textOf } from '../vault/credential-file.ts'
import { CONFLICT_HINT } from '../vault/errors.ts'
import { ask, type StoreAnswer, unusable } from '../vault/https.ts'
import { isRecord, objectOf } from '../vault/json.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import { TlsFiles } from '../vault/tls-files.ts'
import type { SecretReader } from './reader.ts'

export interface KubernetesApiOptions {
  readonly k8s_account_folder: string
  readonly k8s_timeout: number
}

export interface KubernetesApiContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agent?: RequestOptions['agent'] | undefined
  /** Is told of a file of the authorities that cannot be used for the moment. */
  readonly emit?: Emit | undefined
}

/** Where the API is, by the variables that every pod has; undefined outside of a cluster. */
export function apiAddress(environment: KubernetesApiContext['environment']): URL | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment
  const address = `https://${host !== undefined && isIPv6(host) ? `[${host}]` : host}:${port}`
  return host && URL.canParse(address) ? new URL(address) : undefined
}

type ApiObject = Readonly<Record<string, unknown>>
type AskApi = (asked: ApiRequest, signal: AbortSignal) => Promise<ApiObject>

/** Sends requests with the token of the pod's service account. @param address as {@link apiAddress} gives it */
function apiOf(
  address: URL,
  { k8s_account_folder: folder, k8s_timeout: timeout }: KubernetesApiOptions,
  { agent, emit = () => undefined }: KubernetesApiContext,
): AskApi {
  const subject = `The Kubernetes API ${address.host}`
  const file = { what: 'file of the service account', option: 'k8s_account_folder' } as const
  const authorities = new TlsFiles({ ca: { ...file, path: join(folder, 'ca.crt') } }, emit)

  return async (asked, signal) => {
    const { method, path, object, isNewest = false, secrets = [] } = asked
    const [, namespace, name = ''] = /^([^/]*)\/(.*)$/s.exec(path) ?? []
    const collection = `/api/v1/namespaces/${namespace}/secrets`
    const selected = `${collection}?labelSelector=${encodeURIComponent(name)}${isNewest ? '' : '&resourceVersion=0'}`
    const at = { GET: `${collection}/${name}`, PUT: `${collection}/${name}`, POST: collection, LIST: selected }[method]
    const url = new URL(at, address)
    // The kubelet replaces the token about hourly.
    const token = await readSecretText(join(folder, 'token'), { ...file, missing: 'CREDENTIAL_MISSING' })
    const tls = await authorities.load()
    const headers = { accept: 'application/json', authorization: `Bearer ${token.reveal()}` }
    const channel = { signal, limitMillis: timeout * 1000, tls, agent }
    const content = object && {
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(object),
    }
    const question = { subject, url, method: method === 'LIST' ? 'GET' : method, headers, ...content } as const
    const answer = await ask(question, channel)
    const body = objectOf(answer.text)
    if (answer.status !== 200 && !(answer.status === 201 && method === 'POST')) {
      throw failureOf(subject, asked, answer, body, [token, ...secrets])
    }
    const kind = method === 'LIST' ? 'SecretList' : 'Secret'
    if (body?.kind !== kind) throw unusable(subject, url, `is no ${kind}`)
    return body
  }
}

/**
 * The first secret of a namespace with these labels, by paths such as `prod/app=sales,!team`. The API server answers from
 * its cache.
 */
export function kubernetesLabelReader(...given: Parameters<typeof apiOf>): SecretReader {
  const request = apiOf(...given)
  const placeOf = (path: string): string => {
    const [, namespace, selector] = /^([^/]*)\/(.*)$/s.exec(path) ?? []
    return `The secret with the label ${selector} in the namespace ${namespace} of Kubernetes`
  }
  const find = async (path: string, signal: AbortSignal, isNewest = false): Promise<ApiObject | undefined> => {
    const { items } = await request({ method: 'LIST', path, isNewest }, signal)
    return Array.isArray(items) ? items.filter(isRecord)[0] : undefined
  }
  return {
    distance: 'remote',
    placeOf,
    async read(path, signal) {
      const first = await find(path, signal)
      if (first !== undefined) return secretOf(first)
      throw new PoolsmithError(`${placeOf(path)} does not exist.`, {
        code: 'SECRET_MISSING',
        phase: 'credential',
        hint: 'Label the secret, or check the namespace.',
        details: { path },
      })
    },
    /** A new secret has a name that follows from its labels, so that two writers cannot both make it. */
    async write(path, fields, { replaces, signal }) {
      const [, namespace = '', selector = ''] = /^([^/]*)\/(.*)$/s.exec(path) ?? []
      const secrets = [...fields.values()]
      const present = replaces === undefined ? undefined : await find(path, signal, true)
      if (present === undefined) {
        const equal = selector.split(',').filter((one) => one.includes('='))
        const labels = Object.fromEntries(equal.map((one) => one.split('=')))
        const name = `poolsmith-${createHash('sha256').update(selector).digest('hex').slice(0, 32)}`
        const made = { path: `${namespace}/${name}`, fields, labels, secrets }
        if (replaces === undefined) return secretOf(await create(request, made, signal))
        throw new PoolsmithError(`${placeOf(path)} is not there any more; nothing was written.`, {
          code: 'SECRET_CONFLICT',
          phase: 'credential',
          hint: CONFLICT_HINT,
        })
      }
      const { name } = isRecord(present.metadata) ? present.metadata : {}
      const at = `${namespace}/${name}`
      return secretOf(await replace(request, { path: at, fields, replaces, present, secrets }, signal))
    },
  }
}

/** Secrets by namespace and name. */
export function kubernetesApiReader(...given: Parameters<typeof apiOf>): SecretReader {
  const request = apiOf(...given)
  return {
    distance: 'remote',
    placeOf: (path) => `The secret ${path} of Kubernetes`,
    read: async (path, signal) => secretOf(await request({ method: 'GET', path }, signal)),
    async write(path, fields, { replaces, signal }) {
      const secrets = [...fields.values()]
      if (replaces === undefined) return secretOf(await create(request, { path, fields, secrets }, signal))
      const present = await request({ method: 'GET', path }, signal)
      return secretOf(await replace(request, { path, fields, replaces, present, secrets }, signal))
    },
  }
}

interface Writing {
  /** Namespace and name. */
  readonly path: string
  readonly fields: ReadonlyMap<string, Secret>
  readonly secrets: readonly Secret[]
}

function create(
  request: AskApi,
  { path, fields, labels, secrets }: Writing & { readonly labels?: Readonly<Record<string, string | undefined>> },
  signal: AbortSignal,
): Promise<ApiObject> {
  const metadata = { name: path.split('/')[1], labels }
  const data = encoded(new StoredSecret({}).followedBy(fields))
  const object = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data }
  return request({ method: 'POST', path, object, secrets }, signal)
}

/** A PUT replaces the whole object: its type and labels stay, and the API server compares its version. */
function replace(
  request: AskApi,
  {
    path,
    fields,
    replaces,
    present,
    secrets,
  }: Writing & { readonly replaces: StoredSecret | undefined; readonly present: ApiObject },
  signal: AbortSignal,
): Promise<ApiObject> {
  const content = (replaces ?? new StoredSecret({})).followedBy(fields)
  const metadata = { ...(present.metadata as object), resourceVersion: replaces?.version }
  const data = { ...encoded(content), ...unchanged(present, content) }
  const object = { apiVersion: 'v1', kind: 'Secret', ...present, metadata, data }
  return request({ method: 'PUT', path, object, secrets }, signal)
}

interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'LIST'
  /** Namespace and name; for LIST, namespace and selector. */
  readonly path: string
  readonly object?: Readonly<Record<string, unknown>>
  /** For LIST: past the cache of the API server. */
  readonly isNewest?: boolean
  /** The secrets in the object, which are taken out of the words of the API server. */
  readonly secrets?: readonly Secret[]
}

function secretOf({ data, metadata }: Readonly<Record<string, unknown>>): StoredSecret {
  const version = isRecord(metadata) ? String(metadata.resourceVersion) : undefined
  return new StoredSecret(decoded(isRecord(data) ? data : {}), version, lastChange(metadata))
}

/** The keys whose text stays, as they are: with the line end that is not part of the text. */
function unchanged(
  { data }: Readonly<Record<string, unknown>>,
  content: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const known = isRecord(data) ? data : {}
  const texts = decoded(known)
  return Object.fromEntries(Object.entries(known).filter(([key]) => texts[key] === content[key]))
}

function encoded(content: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const entries = Object.entries(content).map(([key, value]) => {
    const bytes = value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value), 'utf8')
    return [key, bytes.toString('base64')] as const
  })
  return Object.fromEntries(entries)
}

/** The last change that the API server has noted; it may be one of labels alone. */
function lastChange(metadata: unknown): number | undefined {
  const { managedFields: fields, creationTimestamp } = isRecord(metadata) ? metadata : {}
  const times = Array.isArray(fields) ? fields.map((field) => (isRecord(field) ? field.time : undefined)) : []
  const known = [...times, creationTimestamp].map((time) => Date.parse(String(time))).filter(Number.isFinite)
  return known.length === 0 ? undefined : Math.max(...known)
}

function decoded(data: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const entries = Object.entries(data).map(([key, value]) => {
    const bytes = Buffer.from(String(value), 'base64')
    return [key, textOf(bytes)?.replace(/\r?\n$/, '') ?? bytes] as const
  })
  return Object.fromEntries(entries)
}

interface Meaning {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: true
}

function failureOf(
  subject: string,
  { method, path }: ApiRequest,
  { status, headers }: StoreAnswer,
  body: Readonly<Record<string, unknown>> | undefined,
  secrets: readonly Secret[],
): PoolsmithError {
  const { message } = body ?? {}
  const words = typeof message === 'string' && message !== '' ? `: ${printable(redact(message, secrets), 300)}` : ''
  const retry = retryAfterMillis(headers['retry-after'])
  return new PoolsmithError(`${subject} could not ${VERBS[method]} the secret ${path} (HTTP ${status})${words}.`, {
    ...(status === 404 && body?.kind !== 'Status' ? NOT_THE_API : meaningOf(status, path, method)),
    phase: 'credential',
    details: { status, path, ...(retry === undefined ? {} : { retryAfterMillis: retry }) },
  })
}

const NOT_THE_API: Meaning = {
  code: 'STORE_ANSWER_UNUSABLE',
  hint: 'A proxy or a web page may stand in place of the API server: check KUBERNETES_SERVICE_HOST.',
}

const VERBS = { GET: 'give', POST: 'create', PUT: 'update', LIST: 'find' } as const

function meaningOf(status: number, path: string, method: ApiRequest['method']): Meaning {
  const [namespace, name] = path.split('/')
  if (status === 401) {
    return { code: 'STORE_REFUSED', hint: 'The token of the service account has expired or is for another audience.' }
  }
  if (status === 403) {
    const rights =
      method === 'POST' || method === 'LIST'
        ? `verb ${method === 'POST' ? 'create' : 'list'} on secrets`
        : `verb ${method === 'GET' ? 'get' : 'update'} on secrets, resourceNames [${name}]`
    const hint = `Bind the service account to a Role with the ${rights}, in the namespace ${namespace}.`
    return { code: 'STORE_REFUSED', hint }
  }
  if (status === 404 && method !== 'LIST')
    return { code: 'SECRET_MISSING', hint: 'Check the namespace and the name of the secret.' }
  if (status === 409) return { code: 'SECRET_CONFLICT', hint: CONFLICT_HINT }
  if (status === 422)
    return { code: 'STORE_REFUSED', hint: 'The secret is immutable, or one of its keys is not valid.' }
  if (status >= 300 && status < 400) {
    return {
      code: 'STORE_REDIRECTED',
      hint: 'Redirections are never followed: see what answers at KUBERNETES_SERVICE_HOST.',
    }
  }
  const isLater = status === 408 || status === 429 || status >= 500
  return {
    code: 'STORE_FAILED',
    transient: isLater || undefined,
    hint: isLater ? 'It is asked again.' : 'See the log of the API server for the request.',
  }
}
