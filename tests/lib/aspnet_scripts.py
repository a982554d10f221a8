"""The seven scripts of the ASP.NET session state provider, whose texts a server recognises: of version 5, which keeps strings, and
of those before, which keep hashes. Source: Azure/aspnet-redis-providers, RedisConnectionWrapper.cs."""

REFRESH = """
                local SessionTimeout = redis.call({get})
                if SessionTimeout ~= false then{head}
                    redis.call('EXPIRE',KEYS[2], SessionTimeout)
                    redis.call('EXPIRE',KEYS[3], SessionTimeout)
                else
                    {other}
                end
"""


def refreshed(get, head, other):
    return REFRESH.replace("{get}", get).replace("{head}", head).replace("{other}", other)


def both(get, data, note):
    """`get`: how the timeout is read; `data`: the session; `note`: how the timeout is written."""
    write = "redis.call(" + note + ")"
    told = refreshed(get.replace("#", "3"), "\n                    retArray[3] = SessionTimeout", "retArray[3] = '-1'")
    return {
        "update": """
                local dataExists = redis.call('EXISTS', KEYS[1])
                if dataExists == 0 then
                    return 1;
                end
                local SessionTimeout = redis.call(""" + get.replace("#", "2") + """)
                if SessionTimeout ~= false then
                    redis.call('EXPIRE',KEYS[1], SessionTimeout)
                    redis.call('EXPIRE',KEYS[2], SessionTimeout)
                else
                    redis.call('EXPIRE',KEYS[1],ARGV[1])
                    """ + write.replace("#", "2").replace("@", "1") + """
                    redis.call('EXPIRE',KEYS[2],ARGV[1])
                end
                return 1""",
        "lock": """
                local retArray = {}
                local lockValue = ARGV[1]
                local locked = redis.call('SETNX',KEYS[1],ARGV[1])
                local IsLocked = true
                if locked == 0 then
                    lockValue = redis.call('GET',KEYS[1])
                else
                    redis.call('EXPIRE',KEYS[1],ARGV[2])
                    IsLocked = false
                end
                retArray[1] = lockValue
                if lockValue == ARGV[1] then retArray[2] = redis.call('""" + data + """',KEYS[2]) else retArray[2] = '' end
""" + told + """
                retArray[4] = IsLocked
                return retArray
                """,
        "read": """
                    local retArray = {}
                    local lockValue = ''
                    local writeLockValue = redis.call('GET',KEYS[1])
                    if writeLockValue ~= false then
                       lockValue = writeLockValue
                    end
                    retArray[1] = lockValue
                    if lockValue == '' then retArray[2] = redis.call('""" + data + """',KEYS[2]) else retArray[2] = '' end
""" + told + """
                    return retArray
                    """,
        "release": """
                local writeLockValueFromCache = redis.call('GET',KEYS[1])
                if writeLockValueFromCache == ARGV[1] then
                    redis.call('DEL',KEYS[1])
                end
""" + refreshed(get.replace("#", "3"), "", "redis.call('EXPIRE',KEYS[2],ARGV[2])") + """
                return 1
                """,
    }


STRINGS = both("'GET', KEYS[#]", "GET", "'SET', KEYS[#], ARGV[@]")
STRINGS["set"] = """
                redis.call('SET', KEYS[1], ARGV[1])
                redis.call('EXPIRE',KEYS[1],ARGV[2])
                redis.call('SET', KEYS[2], ARGV[2])
                redis.call('EXPIRE',KEYS[2],ARGV[2])
                return 1"""
STRINGS["remove"] = """
                if ARGV[1] ~= '' then
                    local lockValue = redis.call('GET',KEYS[1])
                    if lockValue ~=  ARGV[1] then
                        return 1
                    end
                end
                redis.call('DEL',KEYS[2])
                redis.call('DEL',KEYS[3])
                redis.call('DEL',KEYS[1])
                """
STRINGS["save"] = """
                if ARGV[1] ~= '' then
                    local writeLockValueFromCache = redis.call('GET',KEYS[1])
                    if writeLockValueFromCache ~= ARGV[1] then
                        return 1
                    end
                end
                if tonumber(ARGV[6]) ~= 0 then redis.call('SET', KEYS[2], ARGV[10]) end
                redis.call('EXPIRE',KEYS[2],ARGV[2])
                redis.call('SET', KEYS[3], ARGV[2])
                redis.call('EXPIRE',KEYS[3],ARGV[2])
                redis.call('DEL',KEYS[1])"""

HASHES = both("'HGET', KEYS[#], 'SessionTimeout'", "HGETALL", "'HMSET', KEYS[#], 'SessionTimeout', ARGV[@]")
HASHES["set"] = """
                redis.call('HMSET', KEYS[1], unpack(ARGV, 3, ARGV[1]))
                redis.call('EXPIRE',KEYS[1],ARGV[2])
                redis.call('HMSET', KEYS[2], 'SessionTimeout', ARGV[2])
                redis.call('EXPIRE',KEYS[2],ARGV[2])
                return 1"""
HASHES["remove"] = """
                local lockValue = redis.call('GET',KEYS[1])
                if lockValue ==  ARGV[1] then
                    redis.call('DEL',KEYS[2])
                    redis.call('DEL',KEYS[3])
                    redis.call('DEL',KEYS[1])
                end return 1
                """
HASHES["save"] = """
                local writeLockValueFromCache = redis.call('GET',KEYS[1])
                if writeLockValueFromCache == ARGV[1] then
                    if tonumber(ARGV[3]) ~= 0 then redis.call('HDEL', KEYS[2], unpack(ARGV, ARGV[4], ARGV[5])) end
                    if tonumber(ARGV[6]) ~= 0 then redis.call('HMSET', KEYS[2], unpack(ARGV, ARGV[7], ARGV[8])) end
                    redis.call('EXPIRE',KEYS[2],ARGV[2])
                    redis.call('HMSET', KEYS[3], 'SessionTimeout', ARGV[2])
                    redis.call('EXPIRE',KEYS[3],ARGV[2])
                    redis.call('DEL',KEYS[1])
                end return 1"""
