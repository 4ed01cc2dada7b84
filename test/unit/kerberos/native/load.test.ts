import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolsmithError } from '../../../../src/errors.ts'
import { libraryCandidates, loadKoffi, loadLibrary } from '../../../../src/kerberos/native/load.ts'

test('a library that the system lacks is GSS_LIBRARY_MISSING with the command that installs it', async () => {
  const koffi = await loadKoffi()
  assert.throws(
    () => loadLibrary(koffi, ['libnowhere_krb5.so.2']),
    (error: unknown) =>
      error instanceof PoolsmithError &&
      error.code === 'GSS_LIBRARY_MISSING' &&
      /libnowhere_krb5/.test(error.message) &&
      /apt-get install libgssapi-krb5-2|brew install krb5/.test(error.hint ?? '') &&
      error.cause instanceof AggregateError,
  )
})

/** A library that every machine has, also one without Kerberos. */
const ANYWHERE: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  darwin: '/usr/lib/libSystem.B.dylib',
  win32: 'kernel32.dll',
}

test('the first candidate that exists is loaded', async () => {
  const koffi = await loadKoffi()
  assert.ok(loadLibrary(koffi, ['libnowhere_krb5.so.2', ANYWHERE[process.platform] ?? 'libc.so.6']))
})

test('macOS has MIT Kerberos where Homebrew and MacPorts put it, not its own Heimdal', () => {
  const candidates = libraryCandidates('gssapi_krb5', 'darwin')
  assert.ok(candidates.every((path) => path.endsWith('/libgssapi_krb5.2.dylib')))
  assert.ok(candidates.some((path) => path.startsWith('/opt/homebrew/')))
})

test('asynchronous calls get a stack that NSS plug-ins can live on', async () => {
  const koffi = await loadKoffi()
  assert.ok((koffi.config().async_stack_size ?? 0) >= 1024 * 1024)
})
