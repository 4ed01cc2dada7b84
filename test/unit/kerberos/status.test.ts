import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ErrorCode } from '../../../src/errors.ts'
import { codeOf, type KerberosCall } from '../../../src/kerberos/status.ts'

/** Answers of MIT Kerberos 1.20.1. */
const SEEN: readonly (readonly [KerberosCall, number | undefined, number, string, ErrorCode])[] = [
  ['inquire', 0x70000, -1765328243, 'No Kerberos credentials available', 'TICKET_MISSING'],
  ['acquire', 0x70000, -1765328189, 'No credentials cache found', 'TICKET_CACHE_MISSING'],
  ['acquire', 0x70000, -1765328190, 'Credentials cache permissions incorrect', 'TICKET_CACHE_UNREADABLE'],
  ['acquire', 0x70000, -1765328185, 'Bad format in credentials cache', 'TICKET_CACHE_EMPTY'],
  ['acquire', 0x70000, -1765328172, 'Unsupported credentials cache format version number', 'TICKET_CACHE_CORRUPT'],
  ['acquire', 0x70000, -1765328244, 'Unknown credential cache type', 'TICKET_CACHE_TYPE_UNKNOWN'],
  ['inquire', 0x70000, -1765328243, 'No KCM server found', 'TICKET_CACHE_DAEMON_MISSING'],
  ['acquire', 0x70000, -1750600181, '', 'TICKET_CACHE_DAEMON_MISSING'],
  [
    'acquire',
    0x70000,
    39756032,
    'Principal in credential cache does not match desired name',
    'TICKET_PRINCIPAL_MISMATCH',
  ],
  ['inquire', 0xb0000, 100001, 'The referenced credential has expired', 'TICKET_EXPIRED'],
  ['init', 0xd0000, -1765328352, 'Ticket expired', 'TICKET_EXPIRED'],
  ['init', 0xd0000, -1765328228, 'Cannot contact any KDC for realm', 'KDC_UNREACHABLE'],
  ['init', 0xd0000, -1765328377, 'Server not found in Kerberos database', 'SPN_UNKNOWN'],
  ['init', 0xd0000, -1765328230, 'Cannot find KDC for realm', 'REALM_UNKNOWN'],
  ['init', 0xd0000, -1765328347, 'Clock skew too great', 'CLOCK_SKEW'],
  ['reply', 0xd0000, -1765328347, 'Clock skew too great', 'CLOCK_SKEW'],
  ['reply', 0xd0000, -1765328351, 'Ticket not yet valid', 'CLOCK_SKEW'],
  ['init', 0xd0000, -1765328351, 'Ticket not yet valid', 'TICKET_NOT_YET_VALID'],
  ['reply', 0xd0000, -1765328353, 'Decrypt integrity check failed', 'TICKET_REFUSED'],
  ['reply', 0xd0000, -1765328339, 'Service key not available', 'GSS_SERVER_REFUSED'],
  ['init', 0xd0000, -1765328250, 'Malformed representation of principal', 'PRINCIPAL_MALFORMED'],
  // SPNEGO hands out numbers of its own; the words are all there is.
  ['init', 0xd0000, 100005, 'Server not found in Kerberos database', 'SPN_UNKNOWN'],
  ['message', 0x60000, -2045022963, 'Packet was replayed in wrong direction', 'GSS_MESSAGE_DAMAGED'],
  ['message', 0x90000, -2045022964, 'Token header is malformed or corrupt', 'GSS_MESSAGE_DAMAGED'],
  ['init', 0x90000, 0, 'Invalid token was supplied', 'GSS_SERVER_REFUSED'],
  ['read-cache', undefined, -1765328189, 'No credentials cache found', 'TICKET_CACHE_MISSING'],
  ['read-cache', undefined, 13, 'Permission denied', 'TICKET_CACHE_UNREADABLE'],
  ['write-cache', undefined, -1765328189, 'No credentials cache found', 'TICKET_CACHE_NOT_WRITABLE'],
  ['write-cache', undefined, 30, 'Read-only file system', 'TICKET_CACHE_NOT_WRITABLE'],
  ['write-cache', undefined, 28, 'No space left on device', 'TICKET_CACHE_NOT_WRITABLE'],
  ['read-keytab', undefined, 2, "Key table file '/x' not found", 'KEYTAB_MISSING'],
  ['obtain', undefined, 13, 'Permission denied', 'KEYTAB_UNREADABLE'],
  ['obtain', undefined, -1765328171, 'Unsupported key table format version number', 'KEYTAB_CORRUPT'],
  ['obtain', undefined, -1765328203, 'Keytab contains no suitable keys', 'KEYTAB_WITHOUT_PRINCIPAL'],
  ['obtain', undefined, -1765328353, 'Decrypt integrity check failed', 'KEYTAB_REFUSED'],
  ['obtain', undefined, -1765328360, 'Preauthentication failed', 'KEYTAB_REFUSED'],
  ['obtain', undefined, -1765328378, "Client 'x' not found in Kerberos database", 'PRINCIPAL_UNKNOWN'],
  ['obtain', undefined, -1765328366, 'Client credentials have been revoked', 'PRINCIPAL_REFUSED'],
  ['obtain', undefined, -1765328228, 'Cannot contact any KDC', 'KDC_UNREACHABLE'],
  ['obtain', undefined, -1765328230, 'Cannot find KDC', 'REALM_UNKNOWN'],
  ['obtain', undefined, -1765328370, 'KDC has no support for encryption type', 'ENCRYPTION_TYPE_REFUSED'],
  ['renew', undefined, -1765328371, "KDC can't fulfill requested option", 'TICKET_NOT_RENEWABLE'],
  ['renew', undefined, -1765328352, 'Ticket expired', 'TICKET_NOT_RENEWABLE'],
  ['obtain', undefined, -1429577725, 'no such profile relation', 'KRB5_CONFIG_INVALID'],
]

for (const [call, major, minor, text, code] of SEEN) {
  test(`${call} ${major?.toString(16) ?? '-'} ${minor} is ${code}`, () => {
    assert.equal(codeOf({ call, minor, text, ...(major === undefined ? {} : { major }) }), code)
  })
}

test('an unknown status is GSS_FAILED', () => {
  assert.equal(codeOf({ call: 'init', major: 0xd0000, minor: -123, text: 'something new' }), 'GSS_FAILED')
  assert.equal(codeOf({ call: 'obtain', minor: 100007, text: 'something new' }), 'GSS_FAILED')
})

test('the meaning of a number depends on the call', () => {
  assert.equal(codeOf({ call: 'obtain', minor: 2, text: '' }), 'KEYTAB_MISSING')
  assert.equal(codeOf({ call: 'read-cache', minor: 2, text: '' }), 'TICKET_CACHE_MISSING')
  assert.equal(codeOf({ call: 'write-cache', minor: 2, text: '' }), 'TICKET_CACHE_NOT_WRITABLE')
})
