import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signedHeaders } from '../../../src/strategies/aws/sign.ts'

/** Of AWS' own examples ("Signature Version 4 test suite", and the example of ListUsers in the General Reference). */
const KEYS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
const date = new Date('2015-08-30T12:36:00Z')
const FORM = 'application/x-www-form-urlencoded'

test('a request is signed as in the examples of AWS', () => {
  const list = {
    method: 'GET',
    url: new URL('https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers'),
    headers: { 'content-type': `${FORM}; charset=utf-8` },
    body: '',
  } as const
  assert.equal(
    signedHeaders(list, { region: 'us-east-1', service: 'iam', date }, KEYS).authorization,
    'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  )
  const post = {
    method: 'POST',
    url: new URL('https://example.amazonaws.com/'),
    headers: { 'content-type': FORM },
    body: 'Param1=value1',
  } as const
  const headers = signedHeaders(post, { region: 'us-east-1', service: 'service', date }, KEYS)
  assert.match(
    headers.authorization ?? '',
    /Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a$/,
  )
  assert.deepEqual(
    { ...headers, authorization: '' },
    { 'content-type': FORM, host: 'example.amazonaws.com', 'x-amz-date': '20150830T123600Z', authorization: '' },
  )
})
