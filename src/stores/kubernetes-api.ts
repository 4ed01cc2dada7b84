/** Secrets by the API of Kubernetes, with the service account of the pod (Kubernetes documentation, "Accessing the API from a Pod"). */

import type { RequestOptions } from 'node:http'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { retryAfterMillis } from '../retry-after.ts'
import { redact, type Secret } from '../secret.ts'
import { readSecretFile, readSecretText, textOf } from '../vault/credential-file.ts'
import { ask, isRecord, objectOf, type StoreAnswer, unusable } from '../vault/https.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import type { SecretReader } from './reader.ts'

export interface KubernetesApiOptions {
  readonly k8s_account_folder: string
  readonly k8s_timeout: number
}

export interface KubernetesApiContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agent?: RequestOptions['agent'] | undefined
}

/** Where the API is, by the variables that every pod has; undefined outside of a cluster. */
export function apiAddress(environment: KubernetesApiContext['environment']): URL | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment
  const address = `https://${host !== undefined && isIPv6(host) ? `[${host}]` : host}:${port}`
  return host && URL.canParse(address) ? new URL(address) : undefined
}

/** @param address as {@link apiAddress} gives it */
export function kubernetesApiReader(
  address: URL,
  { k8s_account_folder: folder, k8s_timeout: timeout }: KubernetesApiOptions,
  { agent }: KubernetesApiContext,
): SecretReader {
  const subject = `The Kubernetes API ${address.host}`
  return {
    distance: 'remote',
    placeOf: (path) => `The secret ${path} of Kubernetes`,
    async read(path, signal) {
      const [namespace = '', name = ''] = path.split('/')
      const url = new URL(`/api/v1/namespaces/${namespace}/secrets/${name}`, address)
      const use = { what: 'file of the service account', option: 'k8s_account_folder' }
      // The kubelet replaces the token about hourly.
      const token = await readSecretText(join(folder, 'token'), use)
      const ca = await readSecretFile(join(folder, 'ca.crt'), use)
      const headers = { accept: 'application/json', authorization: `Bearer ${token.reveal()}` }
      const channel = { signal, limitMillis: timeout * 1000, tls: { ca }, agent }
      const answer = await ask({ subject, url, method: 'GET', headers }, channel)
      const body = objectOf(answer.text)
      if (answer.status !== 200) throw failureOf(subject, path, answer, body, token)
      if (body?.kind !== 'Secret') throw unusable(subject, url, 'is no Secret')
      const { data = {}, metadata } = body
      const version = isRecord(metadata) ? String(metadata.resourceVersion) : undefined
      return new StoredSecret(decoded(isRecord(data) ? data : {}), version)
    },
  }
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
  path: string,
  { status, headers }: StoreAnswer,
  body: Readonly<Record<string, unknown>> | undefined,
  token: Secret,
): PoolsmithError {
  const { message } = body ?? {}
  const words = typeof message === 'string' && message !== '' ? `: ${printable(redact(message, [token]), 300)}` : ''
  const retry = retryAfterMillis(headers['retry-after'])
  return new PoolsmithError(`${subject} could not give the secret ${path} (HTTP ${status})${words}.`, {
    ...meaningOf(status, path),
    phase: 'credential',
    details: { status, path, ...(retry === undefined ? {} : { retryAfterMillis: retry }) },
  })
}

function meaningOf(status: number, path: string): Meaning {
  const [namespace, name] = path.split('/')
  if (status === 401) {
    return { code: 'STORE_REFUSED', hint: 'The token of the service account has expired or is for another audience.' }
  }
  if (status === 403) {
    const hint = `Bind the service account to a Role with the verb get on secrets, resourceNames [${name}], in the namespace ${namespace}.`
    return { code: 'STORE_REFUSED', hint }
  }
  if (status === 404) return { code: 'SECRET_MISSING', hint: 'Check the namespace and the name of the secret.' }
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
