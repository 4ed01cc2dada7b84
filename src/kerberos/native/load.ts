import { isError } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { Koffi, LibraryHandle, TypeObject } from './koffi-types.ts'

export type { Koffi } from './koffi-types.ts'

/** A pointer into native memory. It never leaves this folder: a wrong one ends the process. */
export type Pointer = bigint

/** A type as koffi takes it: a name, a struct, or a direction around a pointer. */
export type NativeType = string | TypeObject | ReturnType<Koffi['out']>

/** An argument through which a native function hands back a value. */
export type Out<T> = [T]

/** A function of a native library, callable on this thread or on one of libuv's pool. */
export interface Native<Args extends readonly unknown[], Result> {
  (...args: Args): Result
  async(...args: [...Args, (error: unknown, result: Result) => void]): void
}

export interface KerberosLibraries {
  readonly koffi: Koffi
  readonly gssapi: LibraryHandle
  readonly krb5: LibraryHandle
}

/** NSS and krb5 plug-ins run on koffi's stack during asynchronous calls, and its 128 KiB are too few for some. */
const ASYNC_STACK_BYTES = 1024 * 1024

let koffiLoading: Promise<Koffi> | undefined

/** @param neededFor the option that needs it, for the error where the package is missing */
export function loadKoffi(neededFor = 'Kerberos'): Promise<Koffi> {
  koffiLoading ??= (async () => {
    const { default: koffi } = await loadPackage('koffi', () => import('koffi'), neededFor)
    try {
      if ((koffi.config().async_stack_size ?? 0) < ASYNC_STACK_BYTES) {
        koffi.config({ async_stack_size: ASYNC_STACK_BYTES })
      }
    } catch (error) {
      // The stack can only be set before koffi's first library, which the application has loaded already.
      if (!isError(error)) throw error
    }
    return koffi
  })()
  // A failure is not kept: the package may be installed while the process runs (a notebook, a REPL).
  koffiLoading.catch(() => {
    koffiLoading = undefined
  })
  return koffiLoading
}

let librariesLoading: Promise<KerberosLibraries> | undefined

/**
 * Loads MIT's Kerberos libraries on first use.
 *
 * @throws PACKAGE_MISSING when koffi is not installed, GSS_LIBRARY_MISSING when the system has no MIT Kerberos;
 * both with the command that installs it.
 */
export function loadKerberosLibraries(): Promise<KerberosLibraries> {
  librariesLoading ??= (async () => {
    const koffi = await loadKoffi()
    return {
      koffi,
      krb5: loadLibrary(koffi, libraryCandidates('krb5')),
      gssapi: loadLibrary(koffi, libraryCandidates('gssapi_krb5')),
    }
  })()
  librariesLoading.catch(() => {
    librariesLoading = undefined
  })
  return librariesLoading
}

const SONAMES = { krb5: '3', gssapi_krb5: '2' } as const

/** The places of a library, in order. The GSS framework of macOS is Heimdal, without credential stores. */
export function libraryCandidates(
  library: keyof typeof SONAMES,
  platform: NodeJS.Platform = process.platform,
): readonly string[] {
  const version = SONAMES[library]
  if (platform !== 'darwin') return [`lib${library}.so.${version}`, `lib${library}.so`]
  return ['/opt/homebrew/opt/krb5/lib', '/usr/local/opt/krb5/lib', '/opt/local/lib'].map(
    (folder) => `${folder}/lib${library}.${version}.dylib`,
  )
}

export function loadLibrary(koffi: Koffi, candidates: readonly string[]): LibraryHandle {
  const failures: unknown[] = []
  for (const candidate of candidates) {
    try {
      return koffi.load(candidate)
    } catch (error) {
      failures.push(error)
    }
  }
  throw new PoolsmithError(`Kerberos needs ${candidates[0]}, which this system does not have.`, {
    code: 'GSS_LIBRARY_MISSING',
    phase: 'config',
    hint: installHint(),
    details: { tried: [...candidates] },
    cause: new AggregateError(failures, 'no candidate could be loaded'),
  })
}

function installHint(): string {
  if (process.platform === 'darwin') return 'Install MIT Kerberos: brew install krb5'
  return (
    'Install MIT Kerberos: `apt-get install libgssapi-krb5-2` (Debian, Ubuntu), ' +
    '`dnf install krb5-libs` (Fedora, RHEL) or `apk add krb5-libs` (Alpine)'
  )
}

/** The arguments of calls in flight, so that no buffer is collected under one. */
const inFlight = new Set<readonly unknown[]>()

/** How many native calls run or wait on libuv's pool; `process.exit` waits for their end. */
export function callsInFlight(): number {
  return inFlight.size
}

/** Calls a native function on libuv's pool. */
export function callAsync<Args extends readonly unknown[], Result>(
  native: Native<Args, Result>,
  ...args: Args
): Promise<Result> {
  return new Promise((resolve, reject) => {
    inFlight.add(args)
    native.async(...args, (error, result) => {
      inFlight.delete(args)
      if (error === null || error === undefined) resolve(result)
      else reject(error)
    })
  })
}
