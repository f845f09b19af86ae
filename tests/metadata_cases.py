"""What the store and the lake must both make of a stream's metadata: payloads, and which of five events they leave visible.

They follow KurrentDB's ``StreamMetadata.TryFromJsonBytes``. Each decides by itself what a payload means; how its JSON is read is shared.
"""

ALL = [0, 1, 2, 3, 4]
LAST_TWO = [3, 4]

CASES: list[tuple[bytes, list[int]]] = [
    (b'{"$maxCount":2}', LAST_TWO),
    (b'{"$tb":3}', LAST_TWO),
    (b'{"$maxCount":2,"$tb":4}', [4]),
    (b'{"$tb":9223372036854775807}', []),
    (b"{}", ALL),
    # A number that means nothing is left out alone.
    (b'{"$maxCount":2,"$tb":-1}', LAST_TWO),
    (b'{"$maxCount":-1,"$tb":3}', LAST_TWO),
    (b'{"$maxCount":0,"$maxAge":0,"$tb":3}', LAST_TWO),
    (b'{"$maxAge":-5,"$cacheControl":-5,"$tb":3}', LAST_TWO),
    # A field of another type makes it no metadata at all.
    (b'{"$maxCount":2,"$tb":"3"}', ALL),
    (b'{"$maxCount":2.0}', ALL),
    (b'{"$maxCount":2,"$tb":null}', ALL),
    (b'{"$maxCount":true,"$tb":3}', ALL),
    (b'{"$maxCount":2,"$tb":99999999999999999999999}', ALL),
    (b'{"$maxCount":2,"$maxAge":922337203686}', ALL),
    (b'{"$maxCount":2,"$maxAge":922337203685}', LAST_TWO),
    (b'{"$maxCount":2,"$tmp":1}', ALL),
    (b'{"$maxCount":2,"$tmp":false,"$cacheControl":9}', LAST_TWO),
    (b'{"$maxCount":2,"$cacheControl":"9"}', ALL),
    (b'{"$maxCount":2,"$acl":{"$r":"ops","$w":["ops","$admins"]}}', LAST_TWO),
    (b'{"$maxCount":2,"$acl":{"$r":["ops",1]}}', ALL),
    (b'{"$maxCount":2,"$acl":{"$x":"ops"}}', ALL),
    (b'{"$maxCount":2,"$acl":[]}', ALL),
    # What is no JSON object is none; but for what the server's reader of JSON takes as well.
    (b'{"$maxCount":2,"x":NaN}', LAST_TWO),
    (b'{"$maxCount":2,"x":-Infinity}', LAST_TWO),
    (b' \xef\xbb\xbf{"$maxCount":2}', ALL),
    (b'\xef\xbb\xbf{"$maxCount":2}', LAST_TWO),
    (b'{"$maxCount":2,"x":"\xff"}', LAST_TWO),
    (b'{"$maxCount":2} and so on', LAST_TWO),
    (b'{"$maxCount":2,}', LAST_TWO),
    (b"{'$maxCount':2}", LAST_TWO),
    (b"{$maxCount:2}", LAST_TWO),
    (b'{"$maxCount":0x2}', LAST_TWO),
    (b'//a comment\n{"$maxCount":2}', ALL),
    (b'{"$maxCount":2e0}', ALL),
    (b'{"$maxCount":2', ALL),
    (b'{"$maxCount":1,"$maxCount":2}', LAST_TWO),
    (b'[{"$maxCount":2}]', ALL),
    (b"2", ALL),
    (b"\x00", ALL),
    (b"", ALL),
    # Too deep for the server, and for the stack.
    (b'{"$maxCount":2,"x":' + b"[" * 63 + b"]" * 63 + b"}", LAST_TWO),
    (b'{"$maxCount":2,"x":' + b"[" * 64 + b"]" * 64 + b"}", ALL),
    (b'{"$maxCount":2,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", ALL),
    (b"[" * 200_000, ALL),
]
