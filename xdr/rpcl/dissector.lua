-- ---- what is the same for every file: messages, record marking, and a walk over a value by its type ----------------

local RPC = {
    xid = ProtoField.uint32(PROTO .. ".rpc.xid", "XID", base.HEX),
    mtype = ProtoField.uint32(PROTO .. ".rpc.msg_type", "Message Type", base.DEC, { [0] = "Call", [1] = "Reply" }),
    rpcvers = ProtoField.uint32(PROTO .. ".rpc.version", "RPC Version", base.DEC),
    program = ProtoField.uint32(PROTO .. ".program", "Program", base.DEC, PROGRAM_NAMES),
    version = ProtoField.uint32(PROTO .. ".version", "Program Version", base.DEC),
    procedure = ProtoField.uint32(PROTO .. ".procedure", "Procedure", base.DEC),
    procname = ProtoField.string(PROTO .. ".procedure_name", "Procedure Name"),
    flavor = ProtoField.uint32(PROTO .. ".rpc.flavor", "Flavor", base.DEC,
        { [0] = "AUTH_NONE", [1] = "AUTH_SYS", [2] = "AUTH_SHORT", [3] = "AUTH_DH", [6] = "RPCSEC_GSS", [7] = "AUTH_TLS" }),
    authbody = ProtoField.bytes(PROTO .. ".rpc.auth", "Body"),
    reply_stat = ProtoField.uint32(PROTO .. ".rpc.reply_stat", "Reply State", base.DEC,
        { [0] = "MSG_ACCEPTED", [1] = "MSG_DENIED" }),
    accept_stat = ProtoField.uint32(PROTO .. ".rpc.accept_stat", "Accept State", base.DEC,
        { [0] = "SUCCESS", [1] = "PROG_UNAVAIL", [2] = "PROG_MISMATCH", [3] = "PROC_UNAVAIL", [4] = "GARBAGE_ARGS",
          [5] = "SYSTEM_ERR" }),
    reject_stat = ProtoField.uint32(PROTO .. ".rpc.reject_stat", "Reject State", base.DEC,
        { [0] = "RPC_MISMATCH", [1] = "AUTH_ERROR" }),
    auth_stat = ProtoField.uint32(PROTO .. ".rpc.auth_stat", "Authentication State", base.DEC),
    low = ProtoField.uint32(PROTO .. ".rpc.low", "Lowest Version", base.DEC),
    high = ProtoField.uint32(PROTO .. ".rpc.high", "Highest Version", base.DEC),
    call_frame = ProtoField.framenum(PROTO .. ".call_frame", "Call", base.NONE, frametype.REQUEST),
    reply_frame = ProtoField.framenum(PROTO .. ".reply_frame", "Reply", base.NONE, frametype.RESPONSE),
    count = ProtoField.uint32(PROTO .. ".count", "Count", base.DEC),
    follows = ProtoField.uint32(PROTO .. ".follows", "Value Follows", base.DEC, { [0] = "No", [1] = "Yes" }),
    surplus = ProtoField.bytes(PROTO .. ".surplus", "Surplus Bytes"),
    fragment = ProtoField.uint32(PROTO .. ".fragment", "Fragment Header", base.HEX),
}
local EXPERT = ProtoExpert.new(PROTO .. ".malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)

local all_fields = {}
for _, field in pairs(RPC) do all_fields[#all_fields + 1] = field end
for _, field in pairs(F) do all_fields[#all_fields + 1] = field end
protocol.fields = all_fields
protocol.experts = { EXPERT }

local MAX_DEPTH = 200      -- values within each other; Wireshark's own tree has such a limit too
local MAX_ITEMS = 5000     -- elements of one array that are shown
local MAX_RECORD = 64 * 1024 * 1024

-- A value that the bytes do not hold: said with error(), caught where the message begins.
local function malformed(tvb, at, what) error({ at = at, what = what }, 0) end

local function need(tvb, at, count, what)
    if at + count > tvb:len() then malformed(tvb, at, what .. ": " .. count .. " bytes wanted, " .. math.max(tvb:len() - at, 0) .. " left") end
end

local function padded(count) return math.floor((count + 3) / 4) * 4 end

local SIZES = { int = 4, uint = 4, hyper = 8, uhyper = 8, float = 4, double = 8, quadruple = 16, bool = 4 }
local walk

local function walk_bytes(tvb, at, tree, field, name, count)
    need(tvb, at, padded(count), name)
    if count == 0 then tree:add(field, tvb:range(at - math.min(at, 4), 0), ""):set_text(name .. ": (empty)")
    else tree:add(field, tvb:range(at, count)) end
    return at + padded(count)
end

local function walk_items(type, tvb, at, tree, field, name, count, depth)
    local branch = tree:add(tvb:range(at - math.min(at, 4)), name .. ": " .. count .. (count == 1 and " item" or " items"))
    local start = at
    for index = 1, count do
        if index > MAX_ITEMS then malformed(tvb, at, name .. ": more than " .. MAX_ITEMS .. " items") end
        local before = at
        at = walk(type, tvb, at, branch, field, "[" .. (index - 1) .. "]", depth + 1)
        -- Items of no bytes: the count alone says nothing about how long this may go on.
        if at == before then break end
    end
    branch:set_len(at - start + math.min(start, 4))
    return at
end

-- Go through names and typedefs to the type itself.
local function plain(type)
    while type.ref or type.k == "alias" do type = type.ref and T[type.ref] or type.e end
    return type
end

-- Tell whether a type is optional data of this struct.
local function links(type, struct)
    type = plain(type)
    return type.k == "optional" and plain(type.e) == struct
end

-- Show one value; give the place behind it.
walk = function(type, tvb, at, tree, field, name, depth)
    if depth > MAX_DEPTH then malformed(tvb, at, name .. ": nested too deeply") end
    if type.ref then type = T[type.ref] end
    local kind = type.k
    if SIZES[kind] then
        need(tvb, at, SIZES[kind], name)
        tree:add(field, tvb:range(at, SIZES[kind]))
        return at + SIZES[kind]
    elseif kind == "enum" then
        need(tvb, at, 4, name)
        tree:add(field, tvb:range(at, 4))
        return at + 4
    elseif kind == "void" then
        return at
    elseif kind == "fixed" then
        return walk_bytes(tvb, at, tree, field, name, type.n)
    elseif kind == "bytes" then
        need(tvb, at, 4, name)
        local count = tvb:range(at, 4):uint()
        if count > type.n then malformed(tvb, at, name .. ": " .. count .. " bytes announced, " .. type.n .. " allowed") end
        return walk_bytes(tvb, at + 4, tree, field, name, count)
    elseif kind == "vector" then
        return walk_items(type.e, tvb, at, tree, field, name, type.n, depth)
    elseif kind == "array" then
        need(tvb, at, 4, name)
        local count = tvb:range(at, 4):uint()
        if count > type.n then malformed(tvb, at, name .. ": " .. count .. " items announced, " .. type.n .. " allowed") end
        return walk_items(type.e, tvb, at + 4, tree, field, name, count, depth)
    elseif kind == "optional" then
        need(tvb, at, 4, name)
        local follows = tvb:range(at, 4):uint()
        if follows == 0 then
            tree:add(RPC.follows, tvb:range(at, 4)):set_text(name .. ": (none)")
            return at + 4
        elseif follows ~= 1 then
            malformed(tvb, at, name .. ": neither there nor not there")
        end
        return walk(type.e, tvb, at + 4, tree, field, name, depth + 1)
    elseif kind == "alias" then
        return walk(type.e, tvb, at, tree, field, name, depth + 1)
    elseif kind == "struct" then
        -- A list is a struct whose last field is the next of its kind: shown one beside the other, without recursion.
        local follows = #type > 0 and links(type[#type][2], type)
        for entry = 0, MAX_ITEMS do
            need(tvb, at, 0, name)
            local start = at
            local shown = entry > 0 and (name .. "[" .. entry .. "]") or name
            local branch = tree:add(tvb:range(at), shown .. " (" .. type.name .. ")")
            for index = 1, follows and #type - 1 or #type do
                local item = type[index]
                at = walk(item[2], tvb, at, branch, item[3], item[1], depth + 1)
            end
            if not follows then
                branch:set_len(at - start)
                return at
            end
            local last = type[#type][1]
            need(tvb, at, 4, last)
            local more = tvb:range(at, 4):uint()
            if more > 1 then malformed(tvb, at, last .. ": neither there nor not there") end
            branch:add(RPC.follows, tvb:range(at, 4)):set_text(last .. (more == 1 and ": follows" or ": (none)"))
            at = at + 4
            branch:set_len(at - start)
            if more == 0 then return at end
        end
        malformed(tvb, at, name .. ": more than " .. MAX_ITEMS .. " entries")
    elseif kind == "union" then
        need(tvb, at, 4, name)
        local start = at
        local branch = tree:add(tvb:range(at), name .. " (" .. type.name .. ")")
        local value = type.signed and tvb:range(at, 4):int() or tvb:range(at, 4):uint()
        branch:add(type.tag_field, tvb:range(at, 4))
        at = at + 4
        local arm = type.arms[value]
        if arm == nil then arm = type.default end
        if arm == nil then malformed(tvb, start, name .. ": union " .. type.name .. " has no arm for " .. value) end
        if arm ~= false then at = walk(arm[2], tvb, at, branch, arm[3], arm[1], depth + 1) end
        branch:set_len(at - start)
        return at
    end
    error("type of an unknown kind: " .. tostring(kind))
end

-- ---- one message ----------------------------------------------------------------------------------------------------

-- Calls seen, by conversation and xid; what a reply is can only be known from its call.
local calls = {}
function protocol.init() calls = {} end

local function key_of(pinfo, xid, reply)
    local client, server = tostring(pinfo.src) .. ":" .. pinfo.src_port, tostring(pinfo.dst) .. ":" .. pinfo.dst_port
    if reply then client, server = server, client end
    return client .. ">" .. server .. "#" .. xid
end

local function walk_auth(tvb, at, tree, name)
    need(tvb, at, 8, name)
    local count = tvb:range(at + 4, 4):uint()
    if count > 400 then malformed(tvb, at, name .. ": " .. count .. " bytes announced, 400 allowed") end
    need(tvb, at + 8, padded(count), name)
    local branch = tree:add(tvb:range(at, 8 + padded(count)), name)
    branch:add(RPC.flavor, tvb:range(at, 4))
    if count > 0 then branch:add(RPC.authbody, tvb:range(at + 8, count)) end
    return at + 8 + padded(count)
end

-- Tell whether bytes begin one of our messages.
local function ours(tvb, at, pinfo)
    if at + 24 <= tvb:len() and tvb:range(at + 4, 4):uint() == 0 and tvb:range(at + 8, 4):uint() == 2 then
        return P[tvb:range(at + 12, 4):uint()] ~= nil
    end
    return at + 12 <= tvb:len() and tvb:range(at + 4, 4):uint() == 1
        and calls[key_of(pinfo, tvb:range(at, 4):uint(), true)] ~= nil
end

local function rest(tvb, at, tree)
    if at < tvb:len() then tree:add(RPC.surplus, tvb:range(at)) end
end

local function dissect_call(tvb, pinfo, tree, xid)
    need(tvb, 8, 16, "call")
    local program, version, number = tvb:range(12, 4):uint(), tvb:range(16, 4):uint(), tvb:range(20, 4):uint()
    tree:add(RPC.rpcvers, tvb:range(8, 4))
    tree:add(RPC.program, tvb:range(12, 4))
    tree:add(RPC.version, tvb:range(16, 4))
    local versions = P[program]
    local procedure = versions and versions[version] and versions[version][number]
    local name = procedure and procedure.name or ("procedure " .. number)
    tree:add(RPC.procedure, tvb:range(20, 4)):append_text(" (" .. name .. ")")
    tree:add(RPC.procname, tvb:range(20, 4), name):set_generated()
    pinfo.cols.info:append((#tostring(pinfo.cols.info) > 0 and ", " or "") .. "V" .. version .. " " .. name .. " Call XID 0x" .. string.format("%x", xid))
    local key = key_of(pinfo, xid, false)
    local known = calls[key]
    if not known or (not pinfo.visited and known.reply) then
        known = { frame = pinfo.number, procedure = procedure, name = name, version = version }
        calls[key] = known
    end
    if known.reply then tree:add(RPC.reply_frame, known.reply):set_generated() end
    local at = walk_auth(tvb, 24, tree, "Credential")
    at = walk_auth(tvb, at, tree, "Verifier")
    if not procedure then
        rest(tvb, at, tree)
        return
    end
    for index, argument in ipairs(procedure.args) do
        at = walk(argument[2], tvb, at, tree, argument[3], argument[1], 0)
    end
    rest(tvb, at, tree)
end

local function dissect_reply(tvb, pinfo, tree, xid)
    need(tvb, 8, 4, "reply")
    local known = calls[key_of(pinfo, xid, true)]
    local name = known and known.name or "unknown procedure"
    if known then
        if not known.reply then known.reply = pinfo.number end
        tree:add(RPC.procname, tvb:range(0, 0), name):set_generated()
        tree:add(RPC.call_frame, known.frame):set_generated()
    end
    local info = (known and ("V" .. known.version .. " ") or "") .. name .. " Reply XID 0x" .. string.format("%x", xid)
    tree:add(RPC.reply_stat, tvb:range(8, 4))
    local at, verdict = 12, ""
    if tvb:range(8, 4):uint() == 1 then
        need(tvb, 12, 8, "reply")
        tree:add(RPC.reject_stat, tvb:range(12, 4))
        if tvb:range(12, 4):uint() == 0 then
            need(tvb, 16, 8, "reply")
            tree:add(RPC.low, tvb:range(16, 4))
            tree:add(RPC.high, tvb:range(20, 4))
            at, verdict = 24, " RPC_MISMATCH"
        else
            tree:add(RPC.auth_stat, tvb:range(16, 4))
            at, verdict = 20, " AUTH_ERROR"
        end
    else
        at = walk_auth(tvb, 12, tree, "Verifier")
        need(tvb, at, 4, "reply")
        local state = tvb:range(at, 4):uint()
        tree:add(RPC.accept_stat, tvb:range(at, 4))
        at = at + 4
        if state == 0 and known and known.procedure then
            local result = known.procedure.result
            if result then at = walk(result[2], tvb, at, tree, result[3], result[1], 0) end
        elseif state == 2 then
            need(tvb, at, 8, "reply")
            tree:add(RPC.low, tvb:range(at, 4))
            tree:add(RPC.high, tvb:range(at + 4, 4))
            at = at + 8
        end
        if state ~= 0 then verdict = " error " .. state end
    end
    pinfo.cols.info:append((#tostring(pinfo.cols.info) > 0 and ", " or "") .. info .. verdict)
    rest(tvb, at, tree)
end

local function dissect_message(tvb, pinfo, root)
    local tree = root:add(protocol, tvb:range(0))
    local good, fault = pcall(function()
        need(tvb, 0, 8, "message")
        local xid = tvb:range(0, 4):uint()
        tree:add(RPC.xid, tvb:range(0, 4))
        tree:add(RPC.mtype, tvb:range(4, 4))
        if tvb:range(4, 4):uint() == 0 then dissect_call(tvb, pinfo, tree, xid) else dissect_reply(tvb, pinfo, tree, xid) end
    end)
    if not good then
        if type(fault) ~= "table" then error(fault, 0) end
        tree:add_proto_expert_info(EXPERT, fault.what .. ", at byte " .. fault.at)
    end
end

-- ---- transports (RFC 5531, section 11) --------------------------------------------------------------------------------

-- Give the end of the record that begins at a place and its fragments, or nil and how many bytes are missing.
local function find_record(tvb, at)
    local fragments, total = {}, 0
    while true do
        if at + 4 > tvb:len() then return nil, DESEGMENT_ONE_MORE_SEGMENT end
        local header = tvb:range(at, 4):uint()
        local last = header >= 0x80000000
        local size = last and header - 0x80000000 or header
        total = total + size
        if total > MAX_RECORD then return nil, nil end
        if at + 4 + size > tvb:len() then
            return nil, last and at + 4 + size - tvb:len() or DESEGMENT_ONE_MORE_SEGMENT
        end
        fragments[#fragments + 1] = { at + 4, size }
        at = at + 4 + size
        if last then return at, nil, fragments end
    end
end

local function join(tvb, fragments)
    if #fragments == 1 then return tvb:range(fragments[1][1], fragments[1][2]):tvb() end
    local bytes = ByteArray.new()
    for _, fragment in ipairs(fragments) do
        if fragment[2] > 0 then bytes = bytes .. tvb:range(fragment[1], fragment[2]):bytes() end
    end
    return bytes:tvb("RPC record")
end

local function dissect_stream(tvb, pinfo, root)
    local at = 0
    pinfo.cols.protocol = SHOWN
    pinfo.cols.info:clear()
    while at < tvb:len() do
        local stop, missing, fragments = find_record(tvb, at)
        if not stop then
            if missing == nil then return at end
            pinfo.desegment_offset, pinfo.desegment_len = at, missing
            return tvb:len()
        end
        root:add(RPC.fragment, tvb:range(at, 4))
        local record = join(tvb, fragments)
        if record:len() > 0 then dissect_message(record, pinfo, root) end
        at = stop
    end
    return at
end

function protocol.dissector(tvb, pinfo, root)
    if pinfo.port_type == 2 then return dissect_stream(tvb, pinfo, root) end
    pinfo.cols.protocol = SHOWN
    pinfo.cols.info:clear()
    dissect_message(tvb, pinfo, root)
    return tvb:len()
end

protocol:register_heuristic("udp", function(tvb, pinfo, root)
    if not ours(tvb, 0, pinfo) then return false end
    protocol.dissector(tvb, pinfo, root)
    return true
end)

protocol:register_heuristic("tcp", function(tvb, pinfo, root)
    if tvb:len() < 16 or not ours(tvb, 4, pinfo) then return false end
    -- From here on the conversation is ours: its next segments may begin in the middle of a record.
    pinfo.conversation = protocol
    dissect_stream(tvb, pinfo, root)
    return true
end)

DissectorTable.get("tcp.port"):add_for_decode_as(protocol)
DissectorTable.get("udp.port"):add_for_decode_as(protocol)
